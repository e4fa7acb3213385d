//! What every store driver promises, each clause below a prefix of its own so that all run at once on one server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use footplate_drivers::store::{
    Applied, Guard, OPERATIONS_MAX, Revision, Scope, SessionId, Snapshot, Store, StoreError,
    TRANSACTION_BYTES_MAX, Transaction, VALUE_BYTES_MAX, Write,
};

const TTL: Duration = Duration::from_secs(10);
/// Long enough that only a lost wake-up reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two clients of one store.
#[derive(Clone)]
pub struct Clients {
    pub one: Arc<dyn Store>,
    pub other: Arc<dyn Store>,
}

/// Holds a driver to the whole contract.
pub async fn hold(clients: Clients) {
    let c = &clients;
    tokio::join!(
        a_fresh_scope_is_empty_and_has_a_revision(c),
        what_one_client_writes_the_other_reads(c),
        a_prefix_is_a_text(c),
        a_transaction_is_applied_whole_or_not_at_all(c),
        guards_see_presence_absence_and_change(c),
        a_big_transaction_fits(c),
        a_prefix_is_deleted_in_one_write(c),
        a_waiter_hears_of_a_new_key_a_change_and_a_delete(c),
        a_waiter_that_comes_late_hears_how_things_are_and_hears_it_once(c),
        a_wait_without_news_ends_with_its_patience(c),
        a_revision_from_the_future_does_not_hide_what_is_there(c),
    );
    tokio::join!(
        ephemeral_keys_die_with_their_session(c),
        a_session_that_is_not_renewed_dies_and_its_watchers_hear(c),
        a_plain_put_keeps_the_session(c),
        one_session_keeps_the_others_out(c),
        a_dead_session_holds_nothing(c),
        counters_lose_nothing(c),
        what_is_too_much_is_refused(c),
        many_entries_come_back_whole(c),
    );
}

fn put(key: &str, value: impl AsRef<[u8]>) -> Write {
    Write::Put(key.to_owned(), value.as_ref().to_vec())
}

fn hold_key(key: &str, value: &str, session: &SessionId) -> Write {
    Write::PutEphemeral(key.to_owned(), value.as_bytes().to_vec(), session.clone())
}

fn key(key: &str) -> Scope {
    Scope::Key(key.to_owned())
}

fn below(prefix: &str) -> Scope {
    Scope::Prefix(prefix.to_owned())
}

async fn apply(store: &Arc<dyn Store>, guards: Vec<Guard>, writes: Vec<Write>) -> Applied {
    store.apply(&Transaction { guards, writes }).await.expect("the transaction is answered")
}

async fn write(store: &Arc<dyn Store>, writes: Vec<Write>) {
    assert_eq!(apply(store, Vec::new(), writes).await, Applied::Yes);
}

async fn read(store: &Arc<dyn Store>, scope: &Scope) -> Snapshot {
    store.read(scope).await.expect("the read is answered")
}

async fn value(store: &Arc<dyn Store>, at: &str) -> Option<Vec<u8>> {
    read(store, &key(at)).await.entries.remove(at).map(|entry| entry.value)
}

/// Waits as a careful reader does: early wake-ups with the same entries are allowed.
async fn wait_until(
    store: &Arc<dyn Store>,
    scope: &Scope,
    mut seen: Revision,
    holds: impl Fn(&Snapshot) -> bool,
) -> Snapshot {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "nothing heard in {scope:?} after {seen:?}");
        if let Some(snapshot) = store.wait(scope, seen, PATIENCE).await.expect("the wait is answered") {
            if holds(&snapshot) {
                return snapshot;
            }
            seen = snapshot.revision;
        }
    }
}

async fn a_fresh_scope_is_empty_and_has_a_revision(c: &Clients) {
    for scope in [key("fresh/key"), below("fresh/"), below("fresh/ke")] {
        let snapshot = read(&c.one, &scope).await;
        assert!(snapshot.entries.is_empty() && snapshot.revision > Revision(0), "{snapshot:?}");
        let waited = c.one.wait(&scope, Revision(0), PATIENCE).await.unwrap();
        assert!(waited.is_some_and(|snapshot| snapshot.entries.is_empty()), "a wait from 0 returns at once");
    }
}

async fn what_one_client_writes_the_other_reads(c: &Clients) {
    let values = ["", "plain", "zwölf Größen, 日本語, 🚀", "null\0and\nnewline", "\u{feff}\"quoted\\\""];
    for (at, text) in values.iter().enumerate() {
        write(&c.one, vec![put(&format!("both/k{at}~2F.-_"), text)]).await;
    }
    write(&c.one, vec![put("both/bytes", [0, 159, 146, 150, 255])]).await;
    let seen = read(&c.other, &below("both/")).await;
    assert_eq!(seen.entries.len(), values.len() + 1);
    for (at, text) in values.iter().enumerate() {
        assert_eq!(seen.entries[&format!("both/k{at}~2F.-_")].value, text.as_bytes());
    }
    assert_eq!(seen.entries["both/bytes"].value, [0, 159, 146, 150, 255]);
    assert!(seen.entries.values().all(|entry| entry.session.is_none() && entry.revision <= seen.revision));
}

async fn a_prefix_is_a_text(c: &Clients) {
    let keys = ["text/a/b", "text/a/c/d", "text/ab/c", "text/b", "textile"];
    write(&c.one, keys.iter().map(|key| put(key, "1")).collect()).await;
    let names =
        async |prefix: &str| read(&c.other, &below(prefix)).await.entries.into_keys().collect::<Vec<_>>();
    assert_eq!(names("text/a/").await, ["text/a/b", "text/a/c/d"]);
    assert_eq!(names("text/a").await, ["text/a/b", "text/a/c/d", "text/ab/c"]);
    assert_eq!(names("text/").await, &keys[..4]);
    assert_eq!(read(&c.other, &key("text/a")).await.entries.len(), 0);
}

async fn a_transaction_is_applied_whole_or_not_at_all(c: &Clients) {
    write(&c.one, vec![put("whole/a", "1"), put("whole/b", "1")]).await;
    let refused = vec![Guard::Absent("whole/new".to_owned()), Guard::Absent("whole/b".to_owned())];
    let writes = vec![put("whole/a", "2"), Write::Delete("whole/b".to_owned()), put("whole/new", "2")];
    assert_eq!(apply(&c.one, refused, writes.clone()).await, Applied::No);
    assert_eq!(value(&c.other, "whole/a").await, Some(b"1".to_vec()));
    assert_eq!(value(&c.other, "whole/new").await, None);
    write(&c.one, writes).await;
    let seen = read(&c.other, &below("whole/")).await;
    assert_eq!(seen.entries.keys().collect::<Vec<_>>(), ["whole/a", "whole/new"]);
    assert_eq!(
        seen.entries["whole/a"].revision, seen.entries["whole/new"].revision,
        "one change, one revision"
    );
    write(
        &c.one,
        vec![Write::Delete("whole/never".to_owned()), Write::DeletePrefix("whole/not/".to_owned())],
    )
    .await;
    assert_eq!(apply(&c.one, Vec::new(), Vec::new()).await, Applied::Yes);
}

async fn guards_see_presence_absence_and_change(c: &Clients) {
    let at = "guards/k".to_owned();
    let guarded = async |guard: Guard| apply(&c.one, vec![guard], Vec::new()).await;
    assert_eq!(guarded(Guard::Absent(at.clone())).await, Applied::Yes);
    assert_eq!(guarded(Guard::Unchanged(at.clone(), Revision(1))).await, Applied::No);
    assert_eq!(guarded(Guard::HeldBy(at.clone(), a_dead_session(c).await)).await, Applied::No);
    write(&c.one, vec![put(&at, "1")]).await;
    let before = read(&c.one, &key(&at)).await.entries[&at].revision;
    assert_eq!(guarded(Guard::Absent(at.clone())).await, Applied::No);
    assert_eq!(guarded(Guard::Unchanged(at.clone(), before)).await, Applied::Yes);
    assert_eq!(guarded(Guard::HeldBy(at.clone(), a_dead_session(c).await)).await, Applied::No);
    write(&c.other, vec![put(&at, "2")]).await;
    assert_eq!(guarded(Guard::Unchanged(at.clone(), before)).await, Applied::No);
    let after = read(&c.one, &key(&at)).await.entries[&at].revision;
    assert!(after > before);
    let both = vec![Guard::Unchanged(at.clone(), after), Guard::Absent("guards/other".to_owned())];
    assert_eq!(apply(&c.one, both, vec![put(&at, "3")]).await, Applied::Yes);
    assert_eq!(value(&c.other, &at).await, Some(b"3".to_vec()));
}

async fn a_dead_session(c: &Clients) -> SessionId {
    let session = c.one.open_session("dead", TTL).await.unwrap();
    c.one.close_session(&session).await.unwrap();
    session
}

async fn a_big_transaction_fits(c: &Clients) {
    let guards: Vec<_> = (0..OPERATIONS_MAX / 2).map(|n| Guard::Absent(format!("big/g{n}"))).collect();
    let writes: Vec<_> =
        (0..OPERATIONS_MAX / 2).map(|n| put(&format!("big/k{n}"), vec![b'x'; 9_000])).collect();
    assert_eq!(apply(&c.one, guards, writes).await, Applied::Yes);
    let writes = (0..OPERATIONS_MAX).map(|n| put(&format!("big/w{n}"), "1")).collect();
    assert_eq!(apply(&c.one, Vec::new(), writes).await, Applied::Yes);
    write(&c.one, vec![put("big/value", vec![7; VALUE_BYTES_MAX])]).await;
    let seen = read(&c.other, &below("big/")).await;
    assert_eq!(seen.entries.len(), OPERATIONS_MAX / 2 + OPERATIONS_MAX + 1);
    assert_eq!(seen.entries["big/value"].value.len(), VALUE_BYTES_MAX);
}

async fn a_prefix_is_deleted_in_one_write(c: &Clients) {
    write(&c.one, ["tree/a/1", "tree/a/2/3", "tree/ab", "tree/b"].iter().map(|key| put(key, "1")).collect())
        .await;
    write(&c.one, vec![Write::DeletePrefix("tree/a/".to_owned()), put("tree/c", "1")]).await;
    let seen = read(&c.other, &below("tree/")).await;
    assert_eq!(seen.entries.into_keys().collect::<Vec<_>>(), ["tree/ab", "tree/b", "tree/c"]);
}

async fn a_waiter_hears_of_a_new_key_a_change_and_a_delete(c: &Clients) {
    for scope in [key("heard/k"), below("heard/"), below("hear")] {
        let start = read(&c.one, &scope).await.revision;
        let is = |text: Option<&'static str>| {
            move |seen: &Snapshot| {
                seen.entries.get("heard/k").map(|entry| entry.value.as_slice()) == text.map(str::as_bytes)
            }
        };
        let (seen, ()) = tokio::join!(wait_until(&c.one, &scope, start, is(Some("1"))), async {
            write(&c.other, vec![put("heard/k", "1")]).await;
        });
        let (seen, ()) = tokio::join!(wait_until(&c.one, &scope, seen.revision, is(Some("2"))), async {
            write(&c.other, vec![put("heard/k", "2")]).await;
        });
        let (seen, ()) = tokio::join!(wait_until(&c.one, &scope, seen.revision, is(None)), async {
            write(&c.other, vec![Write::Delete("heard/k".to_owned())]).await;
        });
        assert!(seen.entries.is_empty());
        // What happened between two waits is heard by the second.
        let before = read(&c.one, &scope).await.revision;
        write(&c.other, vec![put("heard/k", "3")]).await;
        let seen = wait_until(&c.one, &scope, before, is(Some("3"))).await;
        write(&c.other, vec![Write::Delete("heard/k".to_owned())]).await;
        wait_until(&c.one, &scope, seen.revision, is(None)).await;
    }
}

/// Of several changes the last state is heard, and a wait from there hears none of them again.
async fn a_waiter_that_comes_late_hears_how_things_are_and_hears_it_once(c: &Clients) {
    for (number, scope) in [key("late/k"), below("late/")].iter().enumerate() {
        let before = read(&c.one, scope).await.revision;
        let last = format!("the last of {number}");
        for text in ["1", "2", &last] {
            write(&c.other, vec![put("late/k", text)]).await;
        }
        let seen = c.one.wait(scope, before, PATIENCE).await.expect("the wait is answered").expect("news");
        assert_eq!(seen.entries["late/k"].value, last.as_bytes());
        let again = c.one.wait(scope, seen.revision, Duration::from_millis(300)).await;
        assert_eq!(again.expect("the wait is answered"), None, "{scope:?}");
    }
}

async fn a_wait_without_news_ends_with_its_patience(c: &Clients) {
    write(&c.one, vec![put("quiet/k", "1")]).await;
    for scope in [key("quiet/k"), below("quiet/")] {
        let seen = read(&c.one, &scope).await.revision;
        let waited = c.one.wait(&scope, seen, Duration::from_millis(300)).await.unwrap();
        assert_eq!(waited, None);
    }
}

async fn a_revision_from_the_future_does_not_hide_what_is_there(c: &Clients) {
    write(&c.one, vec![put("future/k", "1")]).await;
    let future = Revision(1 << 40);
    let waited = c.one.wait(&below("future/"), future, Duration::from_millis(300)).await.unwrap();
    let snapshot = waited.expect("a revision that fell is news");
    assert!(snapshot.revision < future && snapshot.entries.len() == 1);
}

async fn ephemeral_keys_die_with_their_session(c: &Clients) {
    let session = c.one.open_session("ephemeral", TTL).await.unwrap();
    write(&c.one, vec![put("ephemeral/stays", "1"), hold_key("ephemeral/a", "1", &session)]).await;
    write(&c.one, vec![hold_key("ephemeral/b", "1", &session), hold_key("ephemeral/a", "2", &session)]).await;
    c.one.renew_session(&session).await.unwrap();
    let scope = below("ephemeral/");
    let seen = read(&c.other, &scope).await;
    assert_eq!(seen.entries["ephemeral/a"].session, Some(session.clone()));
    assert_eq!(seen.entries["ephemeral/a"].value, b"2");
    let (seen, ()) =
        tokio::join!(wait_until(&c.other, &scope, seen.revision, |seen| seen.entries.len() == 1), async {
            c.one.close_session(&session).await.unwrap()
        });
    assert_eq!(seen.entries.into_keys().collect::<Vec<_>>(), ["ephemeral/stays"]);
    c.one.close_session(&session).await.expect("closing a dead session is fine");
}

async fn a_session_that_is_not_renewed_dies_and_its_watchers_hear(c: &Clients) {
    let session = c.one.open_session("forgotten", TTL).await.unwrap();
    write(&c.one, vec![hold_key("forgotten/k", "1", &session)]).await;
    let seen = read(&c.other, &below("forgotten/")).await.revision;
    wait_until(&c.other, &below("forgotten/"), seen, |seen| seen.entries.is_empty()).await;
    let renewed = c.one.renew_session(&session).await;
    assert!(matches!(renewed, Err(StoreError::SessionGone(gone)) if gone == session));
}

async fn a_plain_put_keeps_the_session(c: &Clients) {
    let session = c.one.open_session("plain", TTL).await.unwrap();
    write(&c.one, vec![hold_key("plain/k", "1", &session)]).await;
    write(&c.other, vec![put("plain/k", "2")]).await;
    let entry = read(&c.one, &key("plain/k")).await.entries.remove("plain/k").unwrap();
    assert_eq!((entry.value.as_slice(), &entry.session), (b"2".as_slice(), &Some(session.clone())));
    let held = vec![Guard::HeldBy("plain/k".to_owned(), session.clone())];
    assert_eq!(apply(&c.one, held, vec![put("plain/done", "1")]).await, Applied::Yes);
    c.one.close_session(&session).await.unwrap();
    assert_eq!(value(&c.other, "plain/k").await, None);
}

async fn one_session_keeps_the_others_out(c: &Clients) {
    let mine = c.one.open_session("mine", TTL).await.unwrap();
    let theirs = c.other.open_session("theirs", TTL).await.unwrap();
    let take =
        |session: &SessionId, with: &str| vec![hold_key("lease/k", with, session), put("lease/by", with)];
    assert_eq!(apply(&c.one, Vec::new(), take(&mine, "mine")).await, Applied::Yes);
    assert_eq!(apply(&c.other, Vec::new(), take(&theirs, "theirs")).await, Applied::No);
    assert_eq!(value(&c.other, "lease/by").await, Some(b"mine".to_vec()), "nothing of it was written");
    let not_held = vec![Guard::HeldBy("lease/k".to_owned(), theirs.clone())];
    assert_eq!(apply(&c.other, not_held, vec![put("lease/by", "theirs")]).await, Applied::No);
    c.one.close_session(&mine).await.unwrap();
    // A key that exists and is nobody's can be taken; Consul may hold it back for a millisecond.
    write(&c.other, vec![put("lease/k", "free")]).await;
    let deadline = Instant::now() + PATIENCE;
    while apply(&c.other, Vec::new(), take(&theirs, "theirs")).await == Applied::No {
        assert!(Instant::now() < deadline, "the key does not become free");
    }
    let entry = read(&c.one, &key("lease/k")).await.entries.remove("lease/k").unwrap();
    assert_eq!((entry.value.as_slice(), entry.session), (b"theirs".as_slice(), Some(theirs.clone())));
    c.other.close_session(&theirs).await.unwrap();
}

async fn a_dead_session_holds_nothing(c: &Clients) {
    let dead = a_dead_session(c).await;
    let transaction = Transaction {
        guards: Vec::new(),
        writes: vec![put("dead/plain", "1"), hold_key("dead/k", "1", &dead)],
    };
    let error = c.one.apply(&transaction).await.expect_err("the session is dead");
    assert!(matches!(error, StoreError::SessionGone(ref gone) if *gone == dead), "{error:?}");
    assert!(read(&c.one, &below("dead/")).await.entries.is_empty());
}

async fn counters_lose_nothing(c: &Clients) {
    const TASKS: usize = 8;
    const TIMES: usize = 10;
    write(&c.one, vec![put("counter/n", "0")]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(if task % 2 == 0 { &c.one } else { &c.other });
        tasks.spawn(async move {
            for _ in 0..TIMES {
                while !increment(&store).await {}
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(value(&c.one, "counter/n").await, Some((TASKS * TIMES).to_string().into_bytes()));
}

async fn increment(store: &Arc<dyn Store>) -> bool {
    let seen = read(store, &key("counter/n")).await.entries.remove("counter/n").unwrap();
    let number: usize = std::str::from_utf8(&seen.value).unwrap().parse().unwrap();
    let unchanged = vec![Guard::Unchanged("counter/n".to_owned(), seen.revision)];
    apply(store, unchanged, vec![put("counter/n", (number + 1).to_string())]).await == Applied::Yes
}

async fn what_is_too_much_is_refused(c: &Clients) {
    let half = vec![b'x'; TRANSACTION_BYTES_MAX / 2];
    let cases = [
        vec![put("limits/k", vec![0; VALUE_BYTES_MAX + 1])],
        vec![put("limits/a", &half), put("limits/b", &half)],
        (0..=OPERATIONS_MAX).map(|n| put(&format!("limits/{n}"), "1")).collect(),
        vec![put("limits/a", "1"), put("limits/a", "2")],
        vec![put("limits//a", "1")],
        vec![put("limits/../a", "1")],
        vec![put("limits/a b", "1")],
        vec![Write::DeletePrefix(String::new())],
    ];
    for writes in cases {
        let error = c.one.apply(&Transaction { guards: Vec::new(), writes }).await.expect_err("too much");
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    }
    for scope in [key("a/"), key(""), key("a//b"), below("/a"), below("a/../b/")] {
        assert!(matches!(c.one.read(&scope).await, Err(StoreError::Refused(_))), "{scope:?}");
    }
    for ttl in [Duration::from_secs(9), Duration::from_secs(25 * 60 * 60)] {
        assert!(matches!(c.one.open_session("limits", ttl).await, Err(StoreError::Refused(_))), "{ttl:?}");
    }
    assert!(read(&c.other, &below("limits/")).await.entries.is_empty());
}

async fn many_entries_come_back_whole(c: &Clients) {
    const ENTRIES: usize = 1_300;
    for batch in (0..ENTRIES).collect::<Vec<_>>().chunks(OPERATIONS_MAX) {
        write(&c.one, batch.iter().map(|n| put(&format!("many/{n}"), vec![b'v'; 4_096])).collect()).await;
    }
    let seen = read(&c.other, &below("many/")).await;
    assert_eq!(seen.entries.len(), ENTRIES);
    assert!(seen.entries.values().all(|entry| entry.value.len() == 4_096));
}
