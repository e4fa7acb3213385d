//! The rule that a link in the documents leads somewhere.

use super::{Finding, Rule};
use crate::tree::Tree;

pub const RULE: Rule = Rule {
    name: "every relative link in a Markdown file resolves",
    because: "a reader who follows a dead link stops trusting the page",
    next: "mend the path (from the folder of the page) or the heading behind `#`",
    judge,
};

fn judge(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| path.ends_with(".md")) {
        for (line, target) in links(text) {
            if !resolves(tree, path, text, &target) {
                findings.push(Finding::new(path, line, format!("`{target}` leads nowhere")));
            }
        }
    }
    findings
}

/// Lists the targets of links outside code, each with its line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // Every second piece between backticks is code.
            let prose: Vec<&str> = line.split('`').step_by(2).collect();
            let prose = prose.join("code");
            let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            found.extend(
                targets.map(|target| (index + 1, target.split(' ').next().unwrap_or_default().to_owned())),
            );
        }
    }
    found
}

fn resolves(tree: &Tree, page: &str, text: &str, target: &str) -> bool {
    if ["http:", "https:", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
        return true;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let place = join(page, file);
    let there = file.is_empty() || place.as_deref().is_some_and(|place| tree.has(place));
    let body = if file.is_empty() { Some(text) } else { place.and_then(|place| tree.text(&place)) };
    there && (heading.is_empty() || body.is_some_and(|body| headings(body).any(|own| own == heading)))
}

/// Resolves a target against the folder of its page. Nothing when it leaves the tree.
fn join(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Lists headings the way hosts of Markdown name them: lower case, blanks to dashes, other signs dropped.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_')).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_link_is_found() {
        let page = "# A Page: it\n[a](../README.md) [b](gone.md) [c](#a-page-it) [d](#gone)\n`[e](code.md)` [f](https://x.test)\n\
                    ```\n[g](fenced.md)\n```\n[h](../docs/) [i](../README.md#top)\n";
        let found = judge(&Tree::from(&[("docs/page.md", page), ("README.md", "# Top\n")]));
        let targets: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(targets, ["`gone.md` leads nowhere", "`#gone` leads nowhere"]);
    }
}
