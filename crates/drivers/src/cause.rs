//! Why something failed: an error and what caused it, for people.

use std::error::Error;

/// Lists an error and its causes, outermost first, without those that the one before already says.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut inner = error.source();
    while let Some(error) = inner {
        let text = error.to_string();
        if causes.last().is_none_or(|outer| !outer.contains(&text)) {
            causes.push(text);
        }
        inner = error.source();
    }
    causes
}

/// Returns an error and its causes in one line: `cannot write x: no space left`.
pub fn chain(error: &dyn Error) -> String {
    causes(error).join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn causes_are_listed_once_each() {
        let layer = |text, source: Option<Layer>| Layer { text, source: source.map(Box::new) };
        let full = || layer("no space left", None);
        let repeating = layer("cannot write x", Some(layer("the disk says: no space left", Some(full()))));
        assert_eq!(chain(&repeating), "cannot write x: the disk says: no space left");
        assert_eq!(causes(&layer("cannot write x", Some(full()))), ["cannot write x", "no space left"]);
    }
}
