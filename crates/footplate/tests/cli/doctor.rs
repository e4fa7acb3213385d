//! `footplate doctor` without a controller; with one it is run in `site`.

use std::os::unix::fs::PermissionsExt;

use crate::program::{folder, nobody, run};

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let here = folder();
    let token = here.path().join("token");
    std::fs::write(&token, "a-token-that-nobody-may-see-in-any-output").expect("a token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    std::fs::write(here.path().join("footplate.toml"), "app = \"shop\"\nhook = 1\n").expect("a file");
    let ran = run(here.path(), &["doctor", "--token-file", "token", "--controller", &nobody()]);
    assert_eq!(ran.code, 1);
    for part in [
        "well  git: git version",
        "SICK  footplate.toml: it has mistakes",
        "did you mean `hooks`?",
        "SICK  token file: token can be read by others",
        "chmod 600 token",
        "SICK  controller: it cannot be asked",
    ] {
        assert!(ran.stdout.contains(part), "{part:?} is missing in {}", ran.stdout);
    }
    assert!(ran.stderr.contains("3 checks are not well"), "{}", ran.stderr);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("nobody-may-see"));
}
