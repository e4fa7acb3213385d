//! Requests that make no sense, and long answers that come page by page.

use footplate::api::{OutputPost, Overrides, Problem, ProblemKind, path};
use footplate_core::moment::Moment;
use footplate_core::release::Hooks;
use footplate_drivers::store::Write;
use reqwest::{Method, StatusCode};

use crate::site::{Site, refusal};

/// Sends a request and returns the status and the problem that answers it.
async fn asked(site: &Site, method: Method, path: &str, body: Option<&str>) -> (StatusCode, Problem) {
    let mut request = reqwest::Client::new()
        .request(method, format!("{}{path}", site.client.address()))
        .bearer_auth(site.token());
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {status} {text}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_makes_no_sense_is_told_what_why_and_what_next() {
    let site = Site::with_hosts(&[]).await;
    let large = format!("\"{}\"", "x".repeat(2 * 1024 * 1024));
    let (get, post) = (Method::GET, Method::POST);
    for (method, path, body, status, because) in [
        (post.clone(), path::DEPLOYMENTS.to_owned(), Some("{\"path\": "), 400, "EOF while parsing"),
        (post.clone(), path::DEPLOYMENTS.to_owned(), Some("{\"path\": 7}"), 422, "path: invalid type"),
        (post.clone(), path::DEPLOYMENTS.to_owned(), None, 415, "application/json"),
        (post.clone(), path::DEPLOYMENTS.to_owned(), Some(large.as_str()), 413, "length limit"),
        (get.clone(), format!("{}?limit=many", path::HISTORY), None, 400, "limit: invalid digit"),
        (get.clone(), format!("{}?app=Sh%20op", path::RELEASES), None, 400, "app"),
        (post, format!("{}/we%20b", path::HOSTS), Some("{\"verb\": \"cordon\"}"), 400, "host"),
        (get, format!("{}/sha256:7", path::ARTIFACTS), None, 400, "digest"),
        (Method::DELETE, path::STATUS.to_owned(), None, 405, "not what can be done with it"),
    ] {
        let (found, problem) = asked(&site, method.clone(), &path, body).await;
        let bare = path.split('?').next().unwrap();
        assert_eq!(found, status, "{method} {path}: {problem:?}");
        assert_eq!(problem.what, format!("cannot take {method} {bare}"));
        assert!(problem.because[0].contains(because), "{method} {path}: {problem:?}");
        assert!(problem.next.is_some() && problem.kind == ProblemKind::Invalid, "{problem:?}");
    }
    let (found, problem) = asked(&site, Method::GET, "/v1/traffic?environment=nowhere", None).await;
    assert_eq!((found, problem.kind), (StatusCode::NOT_FOUND, ProblemKind::Unknown));
    assert_eq!(problem.what, "cannot read the traffic in `nowhere`");
    let (found, problem) = asked(&site, Method::GET, "/v1/nothing", None).await;
    assert_eq!((found, problem.kind), (StatusCode::NOT_FOUND, ProblemKind::Unknown));
    assert!(!problem.because.is_empty() && problem.next.is_some(), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hooks_printed_is_read_page_by_page_from_either_end() {
    let site = Site::with_hosts(&[]).await;
    for number in 1..=5_u32 {
        let url =
            format!("{}{}/a/production.shop.files/{number}/prepare", site.client.address(), path::OUTPUTS);
        let post = OutputPost {
            at: Moment::from_millis(1),
            ok: true,
            text: number.to_string(),
            elapsed: std::time::Duration::ZERO,
        };
        let sent =
            reqwest::Client::new().post(url).bearer_auth(site.token()).json(&post).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::CREATED);
    }
    let app = crate::site::path();
    let texts = |page: &[footplate::api::OutputEntry]| -> Vec<String> {
        page.iter().map(|entry| entry.text.clone()).collect()
    };
    let (mut after, mut forward) = (0, Vec::new());
    loop {
        let page = site.client.outputs(&app, None, after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.sequence;
        forward.push(texts(&page));
    }
    assert_eq!(forward, [vec!["1", "2"], vec!["3", "4"], vec!["5"]]);
    let newest = site.client.newest_outputs(&app, None, None, 2).await.unwrap();
    assert_eq!(texts(&newest), ["4", "5"]);
    let before = site.client.newest_outputs(&app, None, Some(newest[0].sequence), 2).await.unwrap();
    assert_eq!(texts(&before), ["2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_over_more_hosts_than_a_value_holds_is_refused_before_anything_is_written() {
    let mut site = Site::with_hosts(&[]).await;
    let presence = br#"{"format":1,"instance":"one","address":"here","labels":{"role":"web"},"version":"0"}"#;
    let hosts = (0..4000).map(|number| format!("agents/host-{number:0>95}/alive"));
    site.write_by_hand(hosts.map(|key| Write::Put(key, presence.to_vec())).collect()).await;
    site.restart_controller().await;
    site.push("1", Hooks::default()).await.unwrap();
    let refused = refusal(site.deploy("1", Overrides::default()).await.unwrap_err());
    for part in
        ["cannot deploy `production.shop`", "apps/production/shop/rollout", "may have 262144", "fewer hosts"]
    {
        assert!(refused.contains(part), "{refused}");
    }
    for key in ["apps/production/shop/rollout", "apps/production/shop/current"] {
        assert_eq!(site.read_by_hand(key).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_leaves_a_line_in_the_history() {
    let site = Site::with_hosts(&[]).await;
    site.push("1", Hooks::default()).await.unwrap();
    site.push("1", Hooks::default()).await.unwrap();
    let pushes = async {
        loop {
            let entries = site.client.history(Some(&crate::site::path()), 10, None).await.unwrap();
            if !entries.is_empty() {
                return entries;
            }
        }
    };
    let entries = crate::site::within("the push is in the history", pushes).await;
    let texts: Vec<&str> = entries.iter().map(|entry| entry.text.as_str()).collect();
    assert_eq!(texts, ["operator pushed `1` of `shop`"], "and once only");
}
