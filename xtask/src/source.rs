//! Reads Rust text just far enough for the house rules: what is code, what is a comment or a literal, what is test code,
//! and which paths it names. Not a parser: `rustfmt` has laid the text out before, and the compiler has judged it.

/// One Rust file with comments and the inside of literals blanked out.
pub struct Source {
    lines: Vec<String>,
    tests: Vec<bool>,
}

/// A path named in code, such as `crate::store::Key`, and the line it stands on, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Mention {
    pub line: usize,
    pub path: String,
}

impl Source {
    /// Reads the text of the file at `path`, which tells whether all of it is test code.
    pub fn parse(path: &str, text: &str) -> Source {
        let lines: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        let tests = if is_test_file(path) { vec![true; lines.len()] } else { test_lines(&lines) };
        Source { lines, tests }
    }

    /// Lists the lines that are part of the product, numbered from 1.
    pub fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().filter(|(number, _)| !self.tests[number - 1])
    }

    /// Lists the lines that are test code, numbered from 1.
    pub fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().filter(|(number, _)| self.tests[number - 1])
    }

    /// Lists every path below `root` (such as `crate` or `footplate_core`) that the product's lines name, with braces of
    /// `use` written out.
    pub fn mentions(&self, root: &str) -> Vec<Mention> {
        let code: String = self.numbered().fold(String::new(), |code, (number, line)| {
            code + if self.tests[number - 1] { "" } else { line } + "\n"
        });
        let start = format!("{root}::");
        let mut found = Vec::new();
        for (at, _) in code.match_indices(&start) {
            if !code[..at]
                .ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
            {
                let line = code[..at].matches('\n').count() + 1;
                expand(root, &code[at + start.len()..], line, &mut found);
            }
        }
        found
    }

    /// Returns the name of the function that a line stands in: the nearest `fn` above with less indentation.
    pub fn function_at(&self, number: usize) -> Option<&str> {
        let indentation = |line: &str| line.len() - line.trim_start().len();
        let depth = indentation(&self.lines[number - 1]);
        self.lines[..number - 1]
            .iter()
            .rev()
            .filter(|line| indentation(line) < depth)
            .find_map(|line| function_name(line))
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()))
    }
}

/// Says whether a whole file serves tests only.
pub fn is_test_file(path: &str) -> bool {
    ["/tests/", "/benches/", "crates/testkit/"].iter().any(|part| path.contains(part))
        || path.ends_with("/tests.rs")
}

fn function_name(line: &str) -> Option<&str> {
    let at = line.find("fn ").filter(|at| *at == 0 || line[..*at].ends_with(' '))?;
    line[at + 3..].split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next()
}

/// Reads one use-tree after `root::` and adds its paths.
fn expand(root: &str, rest: &str, line: usize, found: &mut Vec<Mention>) {
    let end = rest
        .find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':'))
        .unwrap_or(rest.len());
    let path = format!("{root}::{}", rest[..end].trim_end_matches(':'));
    if !rest[..end].is_empty() && !rest[..end].ends_with("::") || !rest[end..].starts_with('{') {
        found.push(Mention { line, path });
        return;
    }
    let root = path.trim_end_matches(':').to_owned();
    let (mut depth, mut item, mut items) = (0usize, String::new(), Vec::new());
    for letter in rest[end + 1..].chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            _ => {
                depth = depth + usize::from(letter == '{') - usize::from(letter == '}');
                item.push(letter);
            }
        }
    }
    items.push(item);
    for item in items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()) {
        expand(&root, item, line, found);
    }
}

/// Marks the lines of every item under `#[cfg(test)]`, by counting braces.
fn test_lines(lines: &[String]) -> Vec<bool> {
    let mut marks = vec![false; lines.len()];
    let mut number = 0;
    while number < lines.len() {
        if !lines[number].trim_start().starts_with("#[cfg(test)]") {
            number += 1;
            continue;
        }
        let mut depth = 0i32;
        loop {
            marks[number] = true;
            let line = &lines[number];
            depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
            let ends = depth == 0 && line.trim_end().ends_with(['}', ';']);
            number += 1;
            if ends || number == lines.len() {
                break;
            }
        }
    }
    marks
}

/// Replaces comments and the inside of strings and characters by blanks, keeping lines and columns.
fn blank(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let end = literal_end(&letters, at);
        if end == at {
            out.push(letters[at]);
            at += 1;
        } else {
            out.extend(letters[at..end].iter().map(|letter| if *letter == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Returns where the comment or literal that begins at `at` ends, or `at` when none begins there.
fn literal_end(letters: &[char], at: usize) -> usize {
    let rest = &letters[at..];
    let after_name = at > 0 && (letters[at - 1].is_alphanumeric() || letters[at - 1] == '_');
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|letter| *letter == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + find(&rest[2..], &['*', '/']) + 2,
        ['"', ..] => at + quoted_end(rest, '"'),
        ['r', '"' | '#', ..] | ['b', 'r', ..] if !after_name => at + raw_end(rest),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => at + quoted_end(rest, '\''),
        _ => at,
    }
}

/// Returns the length up to and with `mark`, or to the end of the text.
fn find(rest: &[char], mark: &[char]) -> usize {
    rest.windows(mark.len()).position(|window| window == mark).map_or(rest.len(), |place| place + mark.len())
}

fn quoted_end(rest: &[char], quote: char) -> usize {
    let mut escaped = false;
    for (place, letter) in rest.iter().enumerate().skip(1) {
        if *letter == quote && !escaped {
            return place + 1;
        }
        escaped = *letter == '\\' && !escaped;
    }
    rest.len()
}

/// Returns the length of a raw string such as `r#"…"#`, or 0 when there is none.
fn raw_end(rest: &[char]) -> usize {
    let prefix = rest.iter().take_while(|letter| matches!(letter, 'b' | 'r')).count();
    let marks = rest[prefix..].iter().take_while(|letter| **letter == '#').count();
    let open = prefix + marks;
    if rest.get(open) != Some(&'"') {
        return 0;
    }
    let mut close = vec!['"'];
    close.resize(marks + 1, '#');
    open + 1 + find(&rest[open + 1..], &close)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_not_code() {
        let blanked = blank(
            "let a = \"x\\\"y\"; // sleep\nlet b = r#\"un\"wrap\"#; let c = 'q'; fn f<'a>() {} /* z */ end",
        );
        for hidden in ["x", "sleep", "wrap", "'q'", " z "] {
            assert!(!blanked.contains(hidden), "{hidden} is still in {blanked}");
        }
        assert!(blanked.contains("fn f<'a>() {}") && blanked.ends_with("end"), "{blanked}");
        assert_eq!(blanked.lines().count(), 2);
    }

    #[test]
    fn an_item_under_cfg_test_is_test_code() {
        let source = Source::parse(
            "a/src/b.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nfn c() {}\n",
        );
        assert_eq!(source.product().map(|(number, _)| number).collect::<Vec<_>>(), [1, 7]);
        assert_eq!(Source::parse("a/tests/b.rs", "fn a() {}").tests().count(), 1);
    }

    #[test]
    fn paths_are_found_with_their_braces_written_out() {
        let source = Source::parse(
            "a/src/b.rs",
            "use crate::{\n    name::{App, Host},\n    target,\n};\nlet a = crate::moment::now();",
        );
        let paths: Vec<String> = source.mentions("crate").into_iter().map(|mention| mention.path).collect();
        assert_eq!(paths, ["crate::name::App", "crate::name::Host", "crate::target", "crate::moment::now"]);
    }

    #[test]
    fn a_line_belongs_to_the_nearest_function_above_it() {
        let source =
            Source::parse("a/src/b.rs", "async fn eventually() {\n    loop {\n        sleep();\n    }\n}\n");
        assert_eq!(source.function_at(3), Some("eventually"));
    }
}
