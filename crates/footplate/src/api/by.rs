//! Who orders something, and why: part of every order that the history tells.

use footplate_core::name::Actor;
use serde::{Deserialize, Serialize};

/// Who orders something, and why. Its fields stand among those of the order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// Why, for the history.
    #[serde(default)]
    pub reason: Option<String>,
    /// The person on whose behalf; the token's owner when absent.
    #[serde(default)]
    pub actor: Option<Actor>,
}

impl By {
    /// Renders why, to follow a sentence: `: the colour`, or nothing.
    pub fn because(&self) -> String {
        self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use crate::api::{HostOrder, HostVerb};

    use super::*;

    #[test]
    fn it_stands_among_the_fields_of_its_order() {
        let order = |text: &str| serde_json::from_str::<HostOrder>(text).unwrap();
        let by = By { reason: Some("new disk".to_owned()), actor: Some("ann".parse().unwrap()) };
        let whole = HostOrder { verb: HostVerb::Drain, by };
        let text = r#"{"verb":"drain","reason":"new disk","actor":"ann"}"#;
        assert_eq!(serde_json::to_string(&whole).unwrap(), text);
        assert_eq!(order(text), whole);
        assert_eq!(order(r#"{"verb":"drain"}"#), HostOrder { verb: HostVerb::Drain, by: By::default() });
    }
}
