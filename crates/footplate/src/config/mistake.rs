//! Mistakes in a file: where, what is wrong, and what would be right.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::failure::{Exit, Failure, printable};

/// One mistake, with the bytes of the file that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong: "unknown key `hook`".
    pub what: String,
    /// The offending bytes; empty for something that is missing from the whole file.
    pub span: Range<usize>,
    /// What would be right: "did you mean `hooks`?".
    pub right: String,
}

/// All mistakes of one file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    /// The file's name, as the person gave it.
    pub path: String,
    /// The file's text.
    pub text: String,
    /// The mistakes; at least one.
    pub list: Vec<Mistake>,
}

impl Mistakes {
    /// Renders every mistake with file, line, underline and what would be right, without colour.
    pub fn render(&self) -> String {
        self.list.iter().map(|mistake| self.render_one(mistake)).collect::<Vec<_>>().join("\n\n")
    }

    fn render_one(&self, mistake: &Mistake) -> String {
        let span = visible(&self.text, &mistake.span);
        let right = printable(&mistake.right);
        let snippet = Snippet::source(self.text.as_str())
            .path(self.path.as_str())
            .annotation(AnnotationKind::Primary.span(span).label(right.as_str()));
        let title = printable(&mistake.what);
        Renderer::plain().render(&[Level::ERROR.primary_title(title.as_str()).element(snippet)])
    }
}

impl From<Mistakes> for Failure {
    /// Turns the mistakes of a file into a failure with exit code 2.
    fn from(mistakes: Mistakes) -> Self {
        let count = match mistakes.list.len() {
            1 => "it has a mistake".to_owned(),
            many => format!("it has {many} mistakes"),
        };
        Failure::new(Exit::Usage, format!("cannot use `{}`", mistakes.path))
            .because_of(count)
            .details(mistakes.render())
            .next("correct the file and run the same command again; nothing was changed")
    }
}

/// Returns a span that lies in the text and underlines at least one character.
fn visible(text: &str, span: &Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}
