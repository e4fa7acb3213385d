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
