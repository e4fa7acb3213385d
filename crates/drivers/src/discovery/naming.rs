//! How a process group is called where DNS must be able to say it.
//!
//! Invariant: two process groups have two names, as far as the template names their parts. Within a part what is no letter and
//! no digit becomes two or more `-`, so that a single one always stands between parts (which begin with a letter or a digit).

use footplate_core::name::TargetName;

/// How services are called unless told otherwise.
pub const NAME_DEFAULT: &str = "{environment}-{app}-{group}";

const MARKS: [&str; 3] = ["{environment}", "{app}", "{group}"];

/// Returns the name of a process group's service, as a template says that [`is_template`].
///
/// Within a part `-` is written `--`, and `_`, which DNS cannot say, `---`; one that stands before another or at the end of
/// its part `----d` or `----u`.
pub fn service_name(template: &str, target: &TargetName) -> String {
    let parts = [target.path.environment.as_str(), target.path.app.as_str(), target.group.as_str()];
    MARKS.iter().zip(parts).fold(template.to_owned(), |name, (mark, part)| name.replace(mark, &spelled(part)))
}

fn spelled(part: &str) -> String {
    let mut spelled = String::with_capacity(part.len());
    let mut rest = part.chars().peekable();
    while let Some(letter) = rest.next() {
        let is_inside = rest.peek().is_some_and(char::is_ascii_alphanumeric);
        match (letter, is_inside) {
            ('-', true) => spelled.push_str("--"),
            ('-', false) => spelled.push_str("----d"),
            ('_', true) => spelled.push_str("---"),
            ('_', false) => spelled.push_str("----u"),
            _ => spelled.push(letter),
        }
    }
    spelled
}

/// Tells whether names made of a text are told apart: it has the app, nothing that DNS cannot say, and one `-` after each part
/// that another one follows.
pub fn is_template(text: &str) -> bool {
    const MARK: char = '.';
    if text.contains(MARK) || !text.contains("{app}") {
        return false;
    }
    let marked = MARKS.iter().fold(text.to_owned(), |text, mark| text.replace(mark, &MARK.to_string()));
    let fits = marked.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == MARK);
    let mut between = marked.split(MARK).skip(1).peekable();
    let mut is_apart = true;
    while let Some(text) = between.next() {
        is_apart &= between.peek().is_none() || text.starts_with('-') && !text.starts_with("--");
    }
    fits && is_apart
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn named(template: &str, target: &str) -> String {
        service_name(template, &target.parse().expect(target))
    }

    #[test]
    fn services_are_called_as_the_template_says() {
        for (template, target, expected) in [
            (NAME_DEFAULT, "production.shop.web", "production-shop-web"),
            (NAME_DEFAULT, "production.my-shop.web", "production-my--shop-web"),
            (NAME_DEFAULT, "production.shop.web_site", "production-shop-web---site"),
            (NAME_DEFAULT, "a-.b__c.d--e", "a----d-b----u---c-d----d--e"),
            ("{app}-{group}", "production.shop.web", "shop-web"),
            ("x-{app}", "production.shop.web", "x-shop"),
        ] {
            assert_eq!(named(template, target), expected, "{template} {target}");
        }
    }

    /// All texts of up to so many letters that a part may be.
    fn parts(length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..length {
            let longer = |part: &String| ["a", "d", "-", "_"].map(|letter| format!("{part}{letter}"));
            last = last.iter().flat_map(longer).collect();
            all.extend(last.clone());
        }
        all.retain(|part| part.starts_with(|first: char| first.is_ascii_alphanumeric()));
        all
    }

    #[test]
    fn two_process_groups_never_have_one_name() {
        for (template, length) in
            [(NAME_DEFAULT, 3), ("{app}-{group}", 4), ("d-{group}-d-{app}-a", 4), ("{group}-a--{app}--", 4)]
        {
            assert!(is_template(template), "{template}");
            let parts = parts(length);
            let environments = if template.contains("{environment}") { &parts } else { &parts[..1] };
            let mut seen = BTreeMap::new();
            for environment in environments {
                for app in &parts {
                    for group in &parts {
                        let target = format!("{environment}.{app}.{group}");
                        let before = seen.insert(named(template, &target), target.clone());
                        assert_eq!(before, None, "{template}: another one is called as {target}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_template_in_which_parts_run_together_is_none() {
        for template in [
            "{group}",
            "{app}{group}",
            "{app}--{group}",
            "{app}x-{group}",
            "{app}.{group}",
            "{app}_x",
            "{env}-{app}",
        ] {
            assert!(!is_template(template), "{template}");
        }
        for template in [NAME_DEFAULT, "{app}", "x{app}x", "{app}-{app}", "{group}-of-{app}", "--{app}"] {
            assert!(is_template(template), "{template}");
        }
    }
}
