//! JSON by HTTP.

use std::os::unix::fs::PermissionsExt;

use async_trait::async_trait;
use footplate_core::verdict::source::{Asked, Http};
use footplate_core::verdict::{Measure, Source};
use footplate_drivers::kpi::{self, Kpi, Settings, Token};

use crate::contract::{self, Site, Trouble, asked, events, names, number, why};
use crate::server::{Answer, Server};

struct Json(Server);

#[async_trait]
impl Site for Json {
    async fn set(&self, [canary, canary_of, baseline, baseline_of]: [u64; 4]) {
        self.0.answer(Answer::Body(format!(
            r#"{{"of": {{"1.3": [{canary}, {canary_of}], "1.2": [{baseline}, {baseline_of}]}}}}"#
        )));
    }

    async fn trouble(&self, trouble: Trouble) {
        self.0.answer(match trouble {
            Trouble::Silent => Answer::Silence,
            Trouble::Nonsense => Answer::Status(500, "out of order".to_owned()),
            Trouble::NotANumber => {
                Answer::Body(r#"{"of": {"1.3": ["NaN", "NaN"], "1.2": [null, true]}}"#.to_owned())
            }
            Trouble::Missing => Answer::Body(r#"{"of": {}}"#.to_owned()),
        });
    }

    fn open(&self, measure: &Measure) -> Kpi {
        let texts = ["/of/{canary}/0", "/of/{canary}/1", "/of/{baseline}/0", "/of/{baseline}/1"];
        let url = format!("http://{}/{{app}}", self.0.address);
        let source = Source::Http(Http { url, ask: asked(measure, texts), token: None });
        kpi::open(&source, measure, &names(), &Settings::default()).unwrap().unwrap()
    }

    fn is_exact_over_resets(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn an_address_that_answers_with_json_holds_the_contract() {
    let site = Json(Server::start(Answer::Silence).await);
    contract::holds(&site).await;
    assert!(site.0.asked().starts_with("GET /shop HTTP/1.1\r\n"), "{}", site.0.asked());
}

/// Returns a source at an address with a token, and settings that know the token for another address.
fn with_token(url: &str, own: &str, folder: &tempfile::TempDir) -> (Source, Settings) {
    let file = folder.path().join("token");
    std::fs::write(&file, "hunter2\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let ask = Asked::Number { canary: "/a".to_owned(), baseline: None };
    let source = Source::Http(Http { url: url.to_owned(), ask, token: Some("queue".to_owned()) });
    let token = Token { file, url: own.to_owned() };
    (source, Settings { tokens: [("queue".to_owned(), token)].into(), ..Settings::default() })
}

#[tokio::test]
async fn a_token_goes_to_its_own_address_and_into_no_reason() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Answer::Status(403, "not with hunter2, my friend".to_owned())).await;
    let url = format!("http://{}/?secret=swordfish", server.address);
    let (source, settings) = with_token(&url, &url, &folder);
    let mut kpi = kpi::open(&source, &number(), &names(), &settings).unwrap().unwrap();
    let told = why(kpi.ask().await);
    assert!(server.asked().to_lowercase().contains("authorization: bearer hunter2"), "{}", server.asked());
    assert!(told.contains("403") && told.contains("my friend"), "{told}");
    assert!(!told.contains("hunter2") && !told.contains("swordfish"), "{told}");
    // A token that others can read is used no more.
    let file = folder.path().join("token");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(why(kpi.ask().await).contains("others may read"));
}

#[test]
fn a_token_is_not_sent_where_it_is_not_for() {
    let folder = tempfile::tempdir().unwrap();
    for (url, own, expected) in [
        ("http://127.0.0.1:1/", "http://127.0.0.1:2/", "it is for another one"),
        ("https://evil.example/", "https://queue.example/", "it is for another one"),
        ("http://queue.example/", "http://queue.example/", "the network would see it"),
    ] {
        let (source, settings) = with_token(url, own, &folder);
        let error = kpi::open(&source, &number(), &names(), &settings).err().expect(url);
        assert!(error.to_string().contains(expected), "{url}: {error}");
    }
    let (source, _) = with_token("https://queue.example/", "https://queue.example/", &folder);
    let error = kpi::open(&source, &number(), &names(), &Settings::default()).err().expect("no token");
    assert!(error.to_string().contains("no token `queue`"), "{error}");
}

#[tokio::test]
async fn an_answer_that_never_ends_is_cut_and_a_way_elsewhere_is_not_followed() {
    let ask = Asked::Number { canary: "/a".to_owned(), baseline: None };
    let server = Server::start(Answer::Body(" ".repeat(5 << 20))).await;
    let url = format!("http://{}", server.address);
    let source = Source::Http(Http { url, ask, token: None });
    let mut kpi = kpi::open(&source, &number(), &names(), &Settings::default()).unwrap().unwrap();
    assert!(why(kpi.ask().await).contains("longer than 4 MiB"));
    server.answer(Answer::Status(302, String::new()));
    assert!(why(kpi.ask().await).contains("302"));
}

#[test]
fn what_routers_and_agents_tell_is_not_asked() {
    let opened = kpi::open(&Source::Router, &events(), &names(), &Settings::default()).unwrap();
    assert!(opened.is_none());
}
