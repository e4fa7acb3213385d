//! The contract of the ledger, held by each driver.

use std::sync::Arc;

use footplate_core::moment::Moment;
use footplate_core::target::Verb;
use footplate_drivers::ledger::{Filter, Happening, Ledger, OutputFilter, Printed, Sqlite, TrialName};

fn happening(app: Option<&str>, kind: &str, at: u64) -> Happening {
    Happening {
        at: Moment::from_millis(at),
        path: app.map(|app| footplate_core::name::AppPath {
            environment: "production".parse().unwrap(),
            app: app.parse().unwrap(),
        }),
        rollout: app.map(|_| 7),
        kind: kind.to_owned(),
        actor: "anna".parse().unwrap(),
        text: format!("anna did {kind}"),
        data: serde_json::json!({ "at": at }),
    }
}

fn printed(host: &str, release: &str, text: String) -> Printed {
    Printed {
        at: Moment::from_millis(5),
        host: host.parse().unwrap(),
        target: "production.shop.files".parse().unwrap(),
        release: release.parse().unwrap(),
        verb: Verb::Prepare,
        ok: false,
        text,
    }
}

#[tokio::test]
async fn history_is_kept_in_order_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.sqlite");
    let ledger = Sqlite::open(&file, 1 << 20).await.unwrap();
    let all = [
        happening(Some("shop"), "deploy", 1),
        happening(None, "cordon", 2),
        happening(Some("blog"), "deploy", 3),
    ];
    let sequences = ledger.append(&all).await.unwrap();
    assert!(sequences.is_sorted() && sequences.len() == 3);
    drop(ledger);

    let ledger = Sqlite::open(&file, 1 << 20).await.unwrap();
    let found = ledger.events(&Filter::default(), 10).await.unwrap();
    let happenings: Vec<_> = found.iter().rev().map(|event| event.happening.clone()).collect();
    assert_eq!(happenings, all);
    let kinds = |filter: Filter| {
        let ledger = &ledger;
        async move {
            let found = ledger.events(&filter, 10).await.unwrap();
            found.iter().map(|event| event.happening.at.as_millis()).collect::<Vec<_>>()
        }
    };
    assert_eq!(kinds(Filter { app: Some("shop".parse().unwrap()), ..Filter::default() }).await, [1]);
    assert_eq!(kinds(Filter { kind: Some("deploy".to_owned()), ..Filter::default() }).await, [3, 1]);
    assert_eq!(kinds(Filter { before: Some(sequences[2]), ..Filter::default() }).await, [2, 1]);
    assert_eq!(kinds(Filter { after: Some(sequences[0]), ..Filter::default() }).await, [3, 2]);
    assert_eq!(kinds(Filter { rollout: Some(7), ..Filter::default() }).await, [3, 1]);
    assert_eq!(kinds(Filter { rollout: Some(8), ..Filter::default() }).await, Vec::<u64>::new());
}

#[tokio::test]
async fn many_writers_get_a_number_each() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Sqlite::open(&folder.path().join("l"), 1 << 20).await.unwrap());
    let writers: Vec<_> = (0..20)
        .map(|at| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(
                async move { ledger.append(&[happening(Some("shop"), "deploy", at)]).await.unwrap()[0] },
            )
        })
        .collect();
    let mut sequences = Vec::new();
    for writer in writers {
        sequences.push(writer.await.unwrap());
    }
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences.len(), 20);
}

#[tokio::test]
async fn outputs_are_bounded_and_the_oldest_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Sqlite::open(&folder.path().join("l"), 10_000).await.unwrap();
    for release in 1..=9 {
        ledger.put_output(&printed("web1", &release.to_string(), "x".repeat(2800))).await.unwrap();
    }
    let kept = ledger.outputs(&OutputFilter::default(), 100).await.unwrap();
    let releases: Vec<_> = kept.iter().map(|(_, printed)| printed.release.as_str()).collect();
    assert_eq!(releases, ["9", "8", "7"]);
    ledger.put_output(&printed("web2", "10", "x".repeat(50_000))).await.unwrap();
    let kept = ledger.outputs(&OutputFilter::default(), 100).await.unwrap();
    assert_eq!(kept.len(), 1, "the newest stays, however large");
    assert_eq!(kept[0].1, printed("web2", "10", "x".repeat(50_000)));
}

#[tokio::test]
async fn outputs_of_every_verb_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Sqlite::open(&folder.path().join("l"), 1 << 20).await.unwrap();
    for verb in Verb::ALL {
        ledger.put_output(&Printed { verb, ..printed("web1", "1", String::new()) }).await.unwrap();
    }
    let found = ledger.outputs(&OutputFilter::default(), 10).await.unwrap();
    let verbs: Vec<Verb> = found.into_iter().rev().map(|(_, printed)| printed.verb).collect();
    assert_eq!(verbs, Verb::ALL);
}

#[tokio::test]
async fn outputs_are_found_by_where_and_what() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Sqlite::open(&folder.path().join("l"), 1 << 20).await.unwrap();
    for (host, release) in [("web1", "1"), ("web2", "1"), ("web1", "2")] {
        ledger.put_output(&printed(host, release, format!("{host} {release}"))).await.unwrap();
    }
    let texts = |filter: OutputFilter| {
        let ledger = &ledger;
        async move {
            let found = ledger.outputs(&filter, 10).await.unwrap();
            found.into_iter().map(|(_, printed)| printed.text).collect::<Vec<_>>()
        }
    };
    let host = OutputFilter { host: Some("web1".parse().unwrap()), ..OutputFilter::default() };
    assert_eq!(texts(host).await, ["web1 2", "web1 1"]);
    let release = OutputFilter { release: Some("1".parse().unwrap()), ..OutputFilter::default() };
    assert_eq!(texts(release).await, ["web2 1", "web1 1"]);
    let app = OutputFilter { app: Some("shop".parse().unwrap()), ..OutputFilter::default() };
    assert_eq!(texts(app).await.len(), 3);
    let app = OutputFilter { app: Some("sho".parse().unwrap()), ..OutputFilter::default() };
    assert_eq!(texts(app).await.len(), 0);
    let followed =
        ledger.outputs(&OutputFilter { after: Some(0), ..OutputFilter::default() }, 2).await.unwrap();
    let followed: Vec<_> = followed.iter().map(|(_, printed)| printed.text.as_str()).collect();
    assert_eq!(followed, ["web2 1", "web1 1"], "the first two, the newest of them first");
    let verb = OutputFilter { verb: Some(Verb::Clean), ..OutputFilter::default() };
    assert_eq!(texts(verb).await.len(), 0);
}

#[tokio::test]
async fn a_file_that_is_no_ledger_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("l");
    std::fs::write(&file, "this is no database, and long enough to be sure about it ".repeat(20)).unwrap();
    let error = Sqlite::open(&file, 1 << 20).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot open the ledger "), "{error}");
}

#[tokio::test]
async fn a_trial_is_read_back_line_by_line_while_it_goes_on_and_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.sqlite");
    let ledger = Sqlite::open(&file, 1 << 20).await.unwrap();
    let path = happening(Some("shop"), "deploy", 1).path.unwrap();
    let name = |rollout, stage: &str| TrialName { path: path.clone(), rollout, stage: stage.to_owned() };
    let lines = |numbers: std::ops::Range<u32>| {
        numbers.map(|number| format!("{{\"n\":{number}}}")).collect::<Vec<_>>()
    };
    assert_eq!(ledger.trials(&path, None).await.unwrap(), []);
    for (trial, at) in [(name(7, "beside"), 10), (name(8, "beside"), 20), (name(8, "after"), 30)] {
        ledger.begin_trial(&trial, Moment::from_millis(at), "{}").await.unwrap();
        ledger.begin_trial(&trial, Moment::from_millis(99), "another").await.unwrap();
        ledger.hear(&trial, &lines(0..2)).await.unwrap();
        ledger.hear(&trial, &lines(2..3)).await.unwrap();
    }
    ledger.end_trial(&name(8, "beside"), "\"worse\"").await.unwrap();
    ledger.end_trial(&name(8, "beside"), "\"another\"").await.unwrap();
    drop(ledger);

    let ledger = Sqlite::open(&file, 1 << 20).await.unwrap();
    let newest = ledger.trials(&path, None).await.unwrap();
    let told: Vec<_> = newest
        .iter()
        .map(|trial| {
            (trial.name.clone(), trial.began.as_millis(), trial.head.as_str(), trial.verdict.as_deref())
        })
        .collect();
    let expected = [(name(8, "beside"), 20, "{}", Some("\"worse\"")), (name(8, "after"), 30, "{}", None)];
    assert_eq!(told, expected);
    assert!(newest.iter().all(|trial| trial.lines == lines(0..3)), "{newest:?}");
    assert_eq!(ledger.trials(&path, Some(7)).await.unwrap()[0].lines, lines(0..3));
}
