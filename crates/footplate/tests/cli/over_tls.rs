//! A site whose store and controller speak TLS under an authority of the team's own.

use std::path::Path;

use footplate_testkit::Certificates;

use crate::program::{Ran, folder, run};
use crate::site::{Role, address};

const STORE_SIGN: &str = "The store answers at ";
const CONTROLLER_SIGN: &str = "The controller answers at ";

fn start_controller(folder: &Path, store: &str, listen: &str) -> (Role, String) {
    let arguments = [
        "controller",
        "--listen",
        listen,
        "--folder",
        "controller",
        "--tls-certificate",
        "server.pem",
        "--tls-key",
        "server.key",
        "--store",
        store,
        "--store-ca-file",
        "ca.pem",
    ];
    let (role, said) = Role::start(folder, &arguments, CONTROLLER_SIGN);
    (role, address(&said, CONTROLLER_SIGN))
}

fn start_store(folder: &Path) -> (Role, String) {
    let arguments = [
        "store",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--folder",
        "store",
        "--tls-certificate",
        "server.pem",
        "--tls-key",
        "server.key",
    ];
    let (role, said) = Role::start(folder, &arguments, STORE_SIGN);
    (role, address(&said, STORE_SIGN))
}

fn write_app(folder: &Path) {
    std::fs::create_dir(folder.join("hello")).expect("a folder");
    let config = "app = \"hello\"\n[environments.production]\nhosts = \"*\"\n";
    std::fs::write(folder.join("hello/footplate.toml"), config).expect("a configuration");
    std::fs::write(folder.join("hello/page"), "hello").expect("a page");
}

#[test]
fn a_site_with_an_authority_of_its_own_works_when_the_authority_is_named() {
    let here = folder();
    let here = here.path();
    Certificates::write(here).expect("certificates");
    write_app(here);
    let (_store, store) = start_store(here);
    let (controller, base) = start_controller(here, &store, "127.0.0.1:0");
    assert!(base.starts_with("https://127.0.0.1:"), "{base}");
    let agent = ["agent", "--host", "h1", "--folder", "h1", "--store", &store, "--store-ca-file", "ca.pem"];
    let (_agent, _) = Role::start(here, &agent, "The agent of ");
    let common = ["--controller", &base, "--token-file", "controller/token"];
    let ask = |arguments: &[&str]| run(here, &[arguments, &common].concat());
    let done = |ran: Ran| assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);

    let stranger = ask(&["status"]);
    assert_eq!(stranger.code, 5, "{}", stranger.stderr);
    for part in [
        "cannot trust who answers at https://",
        "because: invalid peer certificate",
        "next: name the authority that signed its certificate with `--ca-file`",
    ] {
        assert!(stranger.stderr.contains(part), "{part:?} is missing in {}", stranger.stderr);
    }
    let missing = ask(&["status", "--ca-file", "nothing.pem"]);
    assert_eq!(missing.code, 2, "{}", missing.stderr);
    let no_certificate = ask(&["status", "--ca-file", "server.key"]);
    assert_eq!(no_certificate.code, 2);
    assert!(no_certificate.stderr.contains("it holds no certificate"), "{}", no_certificate.stderr);

    let push = ["push", "--app-folder", "hello", "--version", "1", "--ca-file", "ca.pem"];
    done(ask(&push));
    done(ask(&["deploy", "hello@1", "--nodes", "1", "--ca-file", "ca.pem"]));
    assert_eq!(
        std::fs::read_to_string(here.join("h1/apps/production/hello/live/page")).expect("live"),
        "hello"
    );

    let data = here.join(".footplate");
    std::fs::create_dir(&data).expect("a folder");
    let context =
        format!("controller = \"{base}\"\ntoken_file = \"../controller/token\"\nca_file = \"../ca.pem\"\n");
    std::fs::write(data.join("context.toml"), context).expect("a context");
    done(run(here, &["status"]));
    std::fs::remove_dir_all(&data).expect("removed");

    assert!(controller.stop());
    let config = format!(
        "listen = \"127.0.0.1:0\"\nfolder = \"controller\"\n[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
         [store]\naddress = \"{store}\"\nca_file = \"ca.pem\"\n"
    );
    std::fs::write(here.join("controller.toml"), config).expect("a configuration");
    let hosted = ask(&["rollback", "hello", "--to", "1", "--yes", "--controller-config", "controller.toml"]);
    assert!(hosted.stderr.contains("No controller runs; hosting one here"), "{}", hosted.stderr);
    assert_eq!(hosted.code, 3, "it trusts the controller that it hosts, which refuses: {}", hosted.stderr);
}

#[test]
fn a_certificate_for_another_name_says_so() {
    let here = folder();
    Certificates::write(here.path()).expect("certificates");
    let (_store, store) = start_store(here.path());
    let (_controller, base) = start_controller(here.path(), &store, "127.0.0.2:0");
    let arguments =
        ["status", "--controller", &base, "--token-file", "controller/token", "--ca-file", "ca.pem"];
    let ran = run(here.path(), &arguments);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("not valid for name"), "{}", ran.stderr);
    assert!(ran.stderr.contains("next: call it with `--controller` by a name"), "{}", ran.stderr);
}
