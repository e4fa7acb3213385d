//! `footplate init`.

use crate::program::{folder, run};

#[test]
fn init_writes_a_file_and_never_a_second_time() {
    let here = folder();
    std::fs::write(here.path().join("index.html"), "hello").expect("a page");
    let first = run(here.path(), &["init", "--app", "hello"]);
    assert_eq!((first.code, first.stdout.as_str()), (0, ""), "{}", first.stderr);
    let file = here.path().join("footplate.toml");
    insta::assert_snapshot!(std::fs::read_to_string(&file).expect("written"));
    std::fs::write(&file, "app = \"mine\"\n").expect("changed by hand");
    let second = run(here.path(), &["init"]);
    assert_eq!(second.code, 3);
    insta::assert_snapshot!(second.stderr);
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "app = \"mine\"\n");
}

#[test]
fn init_prints_what_it_would_write_also_for_programs() {
    let here = folder();
    let text = run(here.path(), &["init", "--print", "--app", "hello"]);
    let answer = run(here.path(), &["init", "--print", "--app", "hello", "--json"]);
    assert_eq!((text.code, answer.code), (0, 0));
    let answer: serde_json::Value = serde_json::from_str(&answer.stdout).expect("JSON");
    assert_eq!((&answer["app"], &answer["looks_like"]), (&"hello".into(), &"plain files".into()));
    assert_eq!(answer["text"].as_str(), Some(text.stdout.as_str()));
    assert!(!here.path().join("footplate.toml").exists());
}
