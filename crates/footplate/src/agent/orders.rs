//! The one long poll of an agent: all its orders, whatever the number of apps.
//!
//! Invariants: a key that cannot be read is left as it was, and said once; a key that is gone takes its target out of
//! the agent's care, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use footplate_core::name::{HostName, TargetName};
use footplate_core::record::{Key, Record, Stored};
use footplate_core::target::Assignment;
use footplate_core::traffic::RouterOrder;
use footplate_drivers::store::{Entry, Revision, Scope, Snapshot, Store, Troubles, Watch};
use tokio::sync::watch;

/// What the store says of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Offer {
    /// Nothing yet: the store has not answered.
    #[default]
    Unknown,
    /// No order: the target is not this host's.
    Gone,
    /// This order.
    Order(Arc<Assignment>),
    /// An order in a format that this version cannot read.
    Unreadable,
}

/// All orders of a host; `None` until the store answered first.
pub type Orders = Option<BTreeMap<TargetName, Offer>>;

/// Follows a host's orders for ever and tells of each state it sees: those of its targets, and the router's.
pub async fn follow(
    host: HostName,
    mut orders: Watch,
    tell: watch::Sender<Orders>,
    tell_router: watch::Sender<Option<RouterOrder>>,
) {
    let router_key = Key::RouterOrder(host).to_string();
    let mut said = BTreeMap::new();
    loop {
        let snapshot = orders.next().await;
        let router = snapshot.entries.get(&router_key).and_then(|entry| read(&router_key, entry, &mut said));
        tell_router.send_if_modified(|before| std::mem::replace(before, router.clone()) != router);
        let orders = parse(&snapshot, &mut said);
        tell.send_if_modified(|before| {
            let changed = before.as_ref() != Some(&orders);
            *before = Some(orders);
            changed
        });
    }
}

/// Prepares to follow `hosts/<host>/`; each question stays open for `patience`.
pub fn of(host: &HostName, store: Arc<dyn Store>, troubles: &Troubles, patience: Duration) -> Watch {
    let scope = Scope::Prefix(Key::assignments_of(host));
    Watch::new(store, scope, patience, troubles, "read this host's orders")
}

/// Reads the orders of one snapshot. `said` holds the keys that people were told of, by revision.
fn parse(snapshot: &Snapshot, said: &mut BTreeMap<String, Revision>) -> BTreeMap<TargetName, Offer> {
    let mut orders = BTreeMap::new();
    said.retain(|key, revision| snapshot.entries.get(key).is_some_and(|entry| entry.revision == *revision));
    for (text, entry) in &snapshot.entries {
        let target = match text.parse() {
            Ok(Key::Assignment(_, target)) => target,
            Ok(Key::RouterOrder(_)) => continue,
            Ok(_) | Err(_) => {
                say_once(said, text, entry.revision, "it is no key of an order");
                continue;
            }
        };
        let order = read::<Assignment>(text, entry, said);
        let offer = order.map_or(Offer::Unreadable, |order| Offer::Order(Arc::new(order)));
        orders.insert(target, offer);
    }
    orders
}

/// Reads one order; one that cannot be read is said.
fn read<T: Record>(key: &str, entry: &Entry, said: &mut BTreeMap<String, Revision>) -> Option<T> {
    let because = match serde_json::from_slice::<Stored<T>>(&entry.value) {
        Ok(Stored::Known(order)) => return Some(order),
        Ok(Stored::Newer(format)) => format!("a newer footplate wrote it, in format {format}"),
        Err(error) => error.to_string(),
    };
    say_once(said, key, entry.revision, &because);
    None
}

fn say_once(said: &mut BTreeMap<String, Revision>, key: &str, revision: Revision, because: &str) {
    if said.insert(key.to_owned(), revision) != Some(revision) {
        tracing::error!(
            "cannot read the order `{key}`\n  because: {because}\n  next: upgrade this agent, or look at the key; what \
             this host runs stays as it is"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use footplate_core::generation::Generation;
    use footplate_core::record::Written;

    #[test]
    fn an_order_that_cannot_be_read_is_not_a_missing_one() {
        let order = Assignment::to_run(Generation::new(1, 1), None, vec![]);
        let known = serde_json::to_vec(&Written(&order)).expect("plain data");
        let entries = [
            ("hosts/h/production.new.files", br#"{"format":99,"what":1}"#.to_vec()),
            ("hosts/h/production.broken.files", b"{".to_vec()),
            ("hosts/h/production.shop.files", known),
            ("hosts/h/no-target", b"{}".to_vec()),
        ];
        let entry = |value| Entry { value, revision: Revision(7), session: None };
        let entries = entries.map(|(key, value)| (key.to_owned(), entry(value))).into();
        let mut said = BTreeMap::new();
        let orders = parse(&Snapshot { revision: Revision(7), entries }, &mut said);
        let target = |app: &str| format!("production.{app}.files").parse::<TargetName>().expect("a target");
        assert_eq!(orders.get(&target("new")), Some(&Offer::Unreadable));
        assert_eq!(orders.get(&target("broken")), Some(&Offer::Unreadable));
        assert_eq!(orders.get(&target("shop")), Some(&Offer::Order(Arc::new(order))));
        assert_eq!((orders.len(), said.len()), (3, 3));
    }
}
