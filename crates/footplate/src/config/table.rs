//! Reads one table of a TOML file key by key, and collects every mistake on the way.
//!
//! Invariants: a key that nobody asked for is a mistake; a wrong value is a mistake and reads as absent, so that the
//! rest of the file is still looked at; whoever finishes with mistakes gets no configuration.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration;
use super::mistake::{Mistake, Mistakes};

/// What reading a file has brought to light so far.
#[derive(Debug, Default)]
pub struct Findings {
    mistakes: RefCell<Vec<Mistake>>,
    asked: RefCell<BTreeSet<String>>,
    named: RefCell<BTreeSet<String>>,
}

impl Findings {
    /// Returns every key that was asked for, with `*` for a free name: `environments.*.hosts`.
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// Returns every key that was asked for and that the file gives, written the same way.
    pub fn named(&self) -> BTreeSet<String> {
        self.named.borrow().clone()
    }
}

/// Parses `text` and reads it with `read`; gives what it returned, or every mistake.
pub fn parse<T>(
    path: &str,
    text: &str,
    findings: &Findings,
    read: impl FnOnce(&mut Table) -> Option<T>,
) -> Result<T, Mistakes> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        findings.mistakes.borrow_mut().push(Mistake {
            what: "this is not TOML".to_owned(),
            span: error.span().unwrap_or(0..0),
            right: error.message().to_owned(),
        });
    }
    let mut root = Table::new(document.get_ref(), document.span(), Default::default(), findings);
    let value = if errors.is_empty() { read(&mut root) } else { None };
    if errors.is_empty() {
        root.finish();
    }
    let mut list = findings.mistakes.borrow().clone();
    list.sort_by_key(|mistake| mistake.span.start);
    match value {
        Some(value) if list.is_empty() => Ok(value),
        _ => Err(Mistakes { path: path.to_owned(), text: text.to_owned(), list }),
    }
}

/// One value of the file, with the bytes it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// The bytes of the file.
    pub span: Range<usize>,
}

/// One table: hand out each key once, then [`Table::finish`].
#[derive(Debug)]
pub struct Table<'a> {
    entries: BTreeMap<&'a str, (Range<usize>, &'a Spanned<DeValue<'a>>)>,
    given: BTreeSet<&'a str>,
    known: BTreeSet<String>,
    span: Range<usize>,
    /// How messages name it: `environments.production`.
    path: String,
    /// How the reference names it: `environments.*`.
    pattern: String,
    findings: &'a Findings,
}

impl<'a> Table<'a> {
    fn new(
        table: &'a DeTable<'a>,
        span: Range<usize>,
        [path, pattern]: [String; 2],
        findings: &'a Findings,
    ) -> Self {
        let entries: BTreeMap<&str, _> =
            table.iter().map(|(key, value)| (key.get_ref().as_ref(), (key.span(), value))).collect();
        let given = entries.keys().copied().collect();
        Self { entries, given, known: BTreeSet::new(), span, path, pattern, findings }
    }

    /// Notes a mistake at `span`.
    pub fn mistake(&self, span: Range<usize>, what: impl Into<String>, right: impl Into<String>) {
        let mistake = Mistake { what: what.into(), span, right: right.into() };
        self.findings.mistakes.borrow_mut().push(mistake);
    }

    /// Returns the bytes of the table itself, to say that something in it is missing.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Tells whether the file gives this key, whatever its value; does not read it.
    pub fn has(&self, key: &str) -> bool {
        self.given.contains(key)
    }

    fn take(&mut self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.insert(key.to_owned());
        self.findings.asked.borrow_mut().insert(join(&self.pattern, key));
        let (_, value) = self.entries.remove(key)?;
        self.findings.named.borrow_mut().insert(join(&self.pattern, key));
        Some(value)
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    fn below(&self, key: &str) -> [String; 2] {
        [join(&self.path, key), join(&self.pattern, key)]
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue>, expected: &str) {
        let what = format!("`{}` is {}", self.path_of(key), with_article(value.get_ref().type_str()));
        self.mistake(value.span(), what, format!("expected {expected}"));
    }

    /// Reads a text.
    pub fn text(&mut self, key: &str) -> Option<Found<String>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Found { value: text.to_string(), span: value.span() }),
            _ => {
                self.wrong_type(key, value, "a text in quotes");
                None
            }
        }
    }

    /// Reads a text and parses it; the parse error says what would be right.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str) -> Option<T> {
        let found = self.text(key)?;
        found.value.parse().map_err(|error: T::Err| self.bad_value(key, &found, &error.to_string())).ok()
    }

    /// Reads a whole number, or a text that is parsed like [`Table::parsed`].
    pub fn parsed_or_count<T: FromStr<Err: Display>>(&mut self, key: &str) -> Option<T> {
        let value = self.take(key)?;
        let text = match value.get_ref() {
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::String(text) => text.to_string(),
            _ => {
                self.wrong_type(key, value, "a whole number or a text in quotes");
                return None;
            }
        };
        let found = Found { value: text, span: value.span() };
        found.value.parse().map_err(|error: T::Err| self.bad_value(key, &found, &error.to_string())).ok()
    }

    fn bad_value(&self, key: &str, found: &Found<String>, right: &str) {
        self.mistake(found.span.clone(), format!("`{}` is not valid", self.path_of(key)), right);
    }

    /// Reads a length of time such as `"10m"`.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let found = self.text(key)?;
        duration::parse(&found.value).map_err(|right| self.bad_value(key, &found, &right)).ok()
    }

    /// Reads one of a few words.
    pub fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let found = self.text(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found.value) {
            return Some(*value);
        }
        let known = words.iter().map(|(word, _)| *word);
        let right = did_you_mean(&found.value, known.clone()).unwrap_or_else(|| {
            format!("expected {}", known.map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or "))
        });
        self.bad_value(key, &found, &right);
        None
    }

    /// Reads a whole number that is not negative.
    pub fn count(&mut self, key: &str) -> Option<u32> {
        let value = self.take(key)?;
        let number = value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
        if number.is_none() {
            self.wrong_type(key, value, "a whole number from 0 on");
        }
        number
    }

    /// Reads a number, whole or not.
    pub fn number(&mut self, key: &str) -> Option<f64> {
        let value = self.take(key)?;
        let text = match value.get_ref() {
            DeValue::Integer(number) => Some(number.as_str()),
            DeValue::Float(number) => Some(number.as_str()),
            _ => None,
        };
        let number = text.and_then(|text| text.parse().ok()).filter(|number: &f64| number.is_finite());
        if number.is_none() {
            self.wrong_type(key, value, "a number, such as 3 or 0.5");
        }
        number
    }

    /// Reads `true` or `false`.
    pub fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.take(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        flag
    }

    /// Reads a list of texts.
    pub fn texts(&mut self, key: &str) -> Option<Vec<Found<String>>> {
        let value = self.take(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of texts, such as [\"one\", \"two\"]");
            return None;
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Found { value: text.to_owned(), span: item.span() }),
                None => self.wrong_type(key, item, "a text in quotes"),
            }
        }
        Some(texts)
    }

    /// Reads a table; the caller finishes it.
    pub fn table(&mut self, key: &str) -> Option<Table<'a>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Table::new(table, value.span(), self.below(key), self.findings)),
            _ => {
                self.wrong_type(key, value, &format!("a table: [{}]", self.path_of(key)));
                None
            }
        }
    }

    /// Reads a text, or a table for those who want to say more.
    pub fn text_or_table(&mut self, key: &str) -> Option<TextOrTable<'a>> {
        match self.entries.get(key).map(|(_, value)| value.get_ref()) {
            Some(DeValue::Table(_)) => self.table(key).map(TextOrTable::Table),
            _ => self.text(key).map(TextOrTable::Text),
        }
    }

    /// Reads every entry of a table whose keys are free names, each being a table itself.
    pub fn named_tables(&mut self, key: &str) -> Vec<(Found<String>, Table<'a>)> {
        let Some(mut names) = self.table(key) else { return Vec::new() };
        let mut tables = Vec::new();
        for (name, (span, value)) in std::mem::take(&mut names.entries) {
            let found = Found { value: name.to_owned(), span };
            match value.get_ref() {
                DeValue::Table(table) => {
                    let paths = [names.path_of(name), join(&names.pattern, "*")];
                    tables.push((found, Table::new(table, value.span(), paths, self.findings)));
                }
                _ => names.wrong_type(name, value, "a table"),
            }
        }
        tables
    }

    /// Reads a table whose keys are free names and whose values are texts.
    pub fn named_texts(&mut self, key: &str) -> BTreeMap<String, String> {
        let Some(mut names) = self.table(key) else { return BTreeMap::new() };
        let keys: Vec<&str> = names.entries.keys().copied().collect();
        let mut texts = BTreeMap::new();
        for name in keys {
            let (_, value) = names.entries.remove(name).expect("the key was listed a line ago");
            match value.get_ref().as_str() {
                Some(text) => {
                    texts.insert(name.to_owned(), text.to_owned());
                }
                None => names.wrong_type(name, value, "a text in quotes"),
            }
        }
        texts
    }

    /// Refuses keys that a later version will know.
    pub fn planned(&mut self, keys: &[&'a str]) {
        for key in keys {
            if let Some((span, _)) = self.entries.remove(key) {
                let what = format!("`{}` is not yet in this version of footplate", self.path_of(key));
                self.mistake(span, what, "take it out");
            }
        }
    }

    /// Notes a mistake for each key that was not asked for.
    pub fn finish(self) {
        for (key, (span, _)) in &self.entries {
            let known = self.known.iter().map(String::as_str);
            let right = did_you_mean(key, known.clone())
                .unwrap_or_else(|| format!("known here: {}", known.collect::<Vec<_>>().join(", ")));
            self.mistake(span.clone(), format!("unknown key `{}`", self.path_of(key)), right);
        }
    }
}

/// A value that is short for most people.
#[derive(Debug)]
pub enum TextOrTable<'a> {
    /// The short form.
    Text(Found<String>),
    /// The long form; the caller finishes it.
    Table(Table<'a>),
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn with_article(kind: &str) -> String {
    match kind {
        "array" | "integer" => format!("an {kind}"),
        "string" => "a text".to_owned(),
        _ => format!("a {kind}"),
    }
}

/// Returns "did you mean `x`?" for the nearest word, when one is near.
pub fn did_you_mean<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<String> {
    known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}
