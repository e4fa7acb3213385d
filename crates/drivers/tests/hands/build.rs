//! Building a commit's files into an artifact.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use footplate_drivers::archive::{self, Limits};
use footplate_drivers::build::{Build, BuildError, Command, Order, Workshop};
use footplate_drivers::shell::End;
use tokio_util::sync::CancellationToken;

use crate::support::{listing, write_files};

fn order(command: Option<&str>, output: Option<&str>) -> Order {
    Order {
        command: command.map(str::to_owned),
        output: output.map(Into::into),
        environment: vec![("VERSION".to_owned(), "1.2".into())],
        deadline: Duration::from_secs(20),
        modified: 1_000_000,
    }
}

async fn build(tree: &Path, order: &Order, to: &Path) -> Result<(Vec<String>, Vec<String>), BuildError> {
    let log = Mutex::new(Vec::new());
    let each_line = |line: &str| log.lock().unwrap().push(line.to_owned());
    let _ = fs::remove_file(to);
    Command.build(tree, order, to, &each_line, &CancellationToken::new()).await?;
    let out = to.with_extension("out");
    let _ = fs::remove_dir_all(&out);
    archive::unpack(to, &out, &Limits::default(), &CancellationToken::new()).unwrap();
    Ok((listing(&out), log.into_inner().unwrap()))
}

#[tokio::test]
async fn a_command_fills_its_output_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, to) = (folder.path().join("tree"), folder.path().join("artifact"));
    write_files(&tree, &[("src", "hello"), ("docs/index", "hi"), ("outside", "->/etc")]);
    let make = order(Some("mkdir dist; tr a-z A-Z < src > dist/$VERSION; echo made"), Some("dist/"));
    let (files, log) = build(&tree, &make, &to).await.unwrap();
    assert_eq!((files, log), (vec!["1.2 644 \"HELLO\"".to_owned()], vec!["made".to_owned()]));
    let (files, _) = build(&tree, &order(None, Some("docs")), &to).await.unwrap();
    assert_eq!(files, ["index 644 \"hi\""]);

    let error = build(&tree, &order(Some("echo no compiler; exit 2"), None), &to).await.unwrap_err();
    assert!(
        matches!(&error, BuildError::Command { end: End::Exited(2), output } if output == "no compiler\n"),
        "{error}"
    );
    for (output, expected) in
        [("none", "no folder `none`"), ("..", "lies outside"), ("outside", "lies outside")]
    {
        let error = build(&tree, &order(None, Some(output)), &to).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = build(&tree, &order(None, None), &to).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot pack `outside`: it points to `/etc`, an absolute path");
    assert!(!to.exists(), "a failed build leaves no artifact");
}

#[test]
fn workplaces_vanish_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Workshop::open(folder.path()).unwrap();
    let busy = shop.workplace().unwrap();
    write_files(busy.path(), &[("a", "a")]);
    let crashed = folder.path().join("crashed");
    write_files(&crashed, &[("a", "a")]);
    fs::write(folder.path().join("crashed.lock"), "").unwrap();
    Workshop::open(folder.path()).unwrap();
    assert!(!crashed.exists() && !folder.path().join("crashed.lock").exists());
    assert!(busy.path().join("a").exists(), "somebody works there");
    drop(busy);
    assert_eq!(listing(folder.path()), Vec::<String>::new());
}
