//! What is written to the tree, and what never is, against our own store.

use footplate_kv::{Config as StoreConfig, Server};

use super::*;

struct Site {
    wire: Wire,
    prefix: Prefix,
    node: Node,
    session: SessionId,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn open() -> Self {
        crate::install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let mut config = StoreConfig::loopback(folder.path());
        config.listen.set_port(0);
        let server = Server::open(config).await.unwrap();
        let listener = server.bind().await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
        let connection = Connection { server: address, login: None, token: None, datacenter: None };
        let wire = Wire::open(&connection).unwrap();
        let node: Node = "a".parse().unwrap();
        let session = wire.open_session(&node).await.unwrap();
        Self { wire, prefix: "p".parse().unwrap(), node, session, _folder: folder }
    }

    fn seat(&self) -> Seat<'_> {
        Seat { wire: &self.wire, prefix: &self.prefix, node: &self.node, session: &self.session }
    }

    async fn keys(&self) -> Vec<(String, String)> {
        let pairs = self.wire.tree(&self.prefix).await.unwrap();
        pairs.into_iter().map(|pair| (pair.key, String::from_utf8(pair.value).unwrap())).collect()
    }
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn no_write_brings_a_removed_key_back() {
    let site = Site::open().await;
    site.wire.add(&site.prefix, &version("1")).await.unwrap();
    assert_eq!(site.seat().register(&version("1"), &State::Deploying).await.unwrap(), Registered::Yes);
    assert!(site.seat().say(&[(version("1"), State::Available)]).await.unwrap());
    assert_eq!(site.keys().await, pairs(&[("p/1/", ""), ("p/1/a", "available")]));
    site.wire.remove(&site.prefix, &version("1")).await.unwrap();
    assert!(!site.seat().say(&[(version("1"), State::Active)]).await.unwrap());
    assert_eq!(site.seat().register(&version("1"), &State::Active).await.unwrap(), Registered::Gone);
    assert_eq!(site.seat().lost(&[version("1")]).await.unwrap(), [version("1")]);
    assert_eq!(site.keys().await, []);
}

#[tokio::test]
async fn a_version_without_its_folders_key_is_there_while_a_node_is() {
    let site = Site::open().await;
    site.wire.client.put("p/1/other", "available", 0, &Condition::Always).await.unwrap();
    assert_eq!(site.seat().register(&version("1"), &State::Registered).await.unwrap(), Registered::Yes);
}

#[tokio::test]
async fn the_current_version_is_put_back_only_while_it_is_current() {
    let site = Site::open().await;
    assert!(site.wire.switch(&site.prefix, &version("1"), 0).await.unwrap());
    assert!(!site.wire.switch(&site.prefix, &version("2"), 0).await.unwrap(), "somebody was faster");
    let wish = site.wire.current(&site.prefix, 0, Duration::ZERO).await.unwrap().value;
    assert_eq!(wish.version, Some(version("1")));
    assert_eq!(
        site.seat().repair(&version("1"), &State::Active, wish.index + 1).await.unwrap(),
        Registered::Gone
    );
    assert_eq!(site.seat().repair(&version("1"), &State::Active, wish.index).await.unwrap(), Registered::Yes);
    assert_eq!(site.keys().await, pairs(&[("p/1/", ""), ("p/1/a", "active"), ("p/current", "1")]));
}

#[tokio::test]
async fn a_key_that_another_agent_holds_is_left_alone() {
    let site = Site::open().await;
    site.wire.add(&site.prefix, &version("1")).await.unwrap();
    let theirs = site.wire.open_session(&site.node).await.unwrap();
    let seat = Seat { session: &theirs, ..site.seat() };
    assert_eq!(seat.register(&version("1"), &State::Active).await.unwrap(), Registered::Yes);
    assert_eq!(site.seat().register(&version("1"), &State::Available).await.unwrap(), Registered::Refused);
    assert!(!site.seat().say(&[(version("1"), State::Available)]).await.unwrap());
    assert_eq!(site.keys().await, pairs(&[("p/1/", ""), ("p/1/a", "active")]));
    site.wire.close_session(&theirs).await.unwrap();
    assert_eq!(site.keys().await, pairs(&[("p/1/", "")]));
}
