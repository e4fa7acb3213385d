//! A real Prometheus that looks at an exporter of the test.

use std::time::Duration;

use async_trait::async_trait;
use footplate_core::moment::Moment;
use footplate_core::verdict::source::{Asked, Prometheus as Queries};
use footplate_core::verdict::{Measure, Said, Source};
use footplate_drivers::kpi::prometheus::Prometheus as Asker;
use footplate_drivers::kpi::{self, Kpi, Settings};
use footplate_testkit::{Prometheus, eventually};

use crate::contract::{self, Site, Trouble, asked, events, names, number, why};
use crate::server::{Answer, Server};

/// What Prometheus needs to have seen what the exporter says.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

const QUERIES: [&str; 4] = [
    r#"failed_total{release="{canary}"}"#,
    r#"all_total{release="{canary}"}"#,
    r#"failed_total{release="{baseline}"}"#,
    r#"all_total{release="{baseline}"}"#,
];

struct Scraped {
    exporter: Server,
    prometheus: Prometheus,
}

impl Scraped {
    async fn start(is_secured: bool) -> Scraped {
        let exporter = Server::start(Answer::Body(metrics(["0"; 4], 0))).await;
        let prometheus = Prometheus::start(&[exporter.address], is_secured).await.unwrap();
        Scraped { exporter, prometheus }
    }

    fn settings(&self) -> Settings {
        Settings { ca_file: self.prometheus.ca_file().map(ToOwned::to_owned), ..Settings::default() }
    }

    fn open_with(&self, measure: &Measure, queries: [&str; 4]) -> Kpi {
        let ask = asked(measure, queries);
        let source = Source::Prometheus(Queries { url: self.prometheus.url(), ask, token: None });
        kpi::open(&source, measure, &names(), &self.settings()).unwrap().unwrap()
    }

    /// Waits until a query has this value, or none.
    async fn sees(&self, query: &str, value: Option<f64>) {
        let url = self.prometheus.url();
        let ask = Asked::Number { canary: query.to_owned(), baseline: None };
        let source = Source::Prometheus(Queries { url, ask, token: None });
        let kpi = kpi::open(&source, &number(), &names(), &self.settings()).unwrap().unwrap();
        let kpi = tokio::sync::Mutex::new(kpi);
        let holds = || async {
            match kpi.lock().await.ask().await {
                Said::Numbers { canary, .. } => Some(canary.value()) == value,
                Said::Nothing(_) => value.is_none(),
                Said::Events(_) => false,
            }
        };
        eventually(&format!("{query} is {value:?}"), SEEN_WITHIN, holds).await;
    }

    /// Lets the exporter say this, and waits until Prometheus knows.
    async fn say(&self, values: [&str; 4]) {
        use std::sync::atomic::{AtomicU64, Ordering};
        static MARK: AtomicU64 = AtomicU64::new(1);
        let mark = MARK.fetch_add(1, Ordering::Relaxed);
        self.exporter.answer(Answer::Body(metrics(values, mark)));
        self.sees("mark", Some(mark as f64)).await;
    }
}

/// What the exporter says; the mark tells when Prometheus has seen it.
fn metrics([canary, canary_of, baseline, baseline_of]: [&str; 4], mark: u64) -> String {
    format!(
        "failed_total{{release=\"1.3\"}} {canary}\nall_total{{release=\"1.3\"}} {canary_of}\n\
         failed_total{{release=\"1.2\"}} {baseline}\nall_total{{release=\"1.2\"}} {baseline_of}\nmark {mark}\n"
    )
}

#[async_trait]
impl Site for Scraped {
    async fn set(&self, counters: [u64; 4]) {
        self.prometheus.server().resume().unwrap();
        let texts = counters.map(|counter| counter.to_string());
        self.say([&texts[0], &texts[1], &texts[2], &texts[3]]).await;
    }

    async fn trouble(&self, trouble: Trouble) {
        match trouble {
            Trouble::Silent => self.prometheus.server().pause().unwrap(),
            // An exporter that is out of order: what it counted ends at once, and is not what it was.
            Trouble::Nonsense => {
                self.exporter.answer(Answer::Status(500, "out of order".to_owned()));
                self.sees("mark", None).await;
            }
            Trouble::NotANumber => self.say(["NaN", "NaN", "NaN", "NaN"]).await,
            Trouble::Missing => {
                self.exporter.answer(Answer::Body("mark 1e9\n".to_owned()));
                self.sees("mark", Some(1e9)).await;
            }
        }
    }

    fn open(&self, measure: &Measure) -> Kpi {
        self.open_with(measure, QUERIES)
    }

    fn is_exact_over_resets(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_prometheus_holds_the_contract() {
    contract::holds(&Scraped::start(false).await).await;
}

#[tokio::test]
async fn queries_that_say_nothing_of_use_are_no_answers() {
    let site = Scraped::start(true).await;
    site.set([1, 10, 1, 10]).await;
    for (query, expected) in [
        ("failed_total{", "parse error"),
        ("nobody_counts_this", "finds nothing"),
        ("failed_total", "2 values"),
        ("failed_total[1m]", "no instant vector"),
        ("\"text\"", "no instant vector"),
        ("vector(1) / 0", "none"),
        // A sample from ten minutes ago is none of the present, and one that Prometheus takes as the present may be old.
        ("mark offset 10m", "finds nothing"),
    ] {
        let mut kpi = site.open_with(&number(), [query, "", "mark", ""]);
        let told = why(kpi.ask().await);
        assert!(told.contains(expected), "{query}: {told}");
    }
    // By TLS of an authority that nobody named, nothing is asked.
    let ask = Asked::Number { canary: "mark".to_owned(), baseline: None };
    let source = Source::Prometheus(Queries { url: site.prometheus.url(), ask, token: None });
    let own = Settings { ca_file: None, ..site.settings() };
    let mut kpi = kpi::open(&source, &number(), &names(), &own).unwrap().unwrap();
    assert!(why(kpi.ask().await).contains("does not answer"));
}

#[tokio::test]
async fn samples_that_prometheus_took_long_ago_are_no_answer() {
    let site = Scraped::start(false).await;
    // The exporter dates its own samples: what it says was so three minutes ago, which Prometheus takes for the present.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let then = now.as_millis() - 180_000;
    let dated: String = metrics(["1", "10", "1", "10"], 0)
        .lines()
        .filter(|line| !line.starts_with("mark"))
        .map(|line| format!("{line} {then}\n"))
        .collect();
    site.exporter.answer(Answer::Body(format!("{dated}mark 7\n")));
    site.sees("mark", Some(7.0)).await;
    let told = why(site.open(&number()).ask().await);
    assert!(told.contains("s old"), "{told}");
}

#[tokio::test]
async fn a_time_that_is_over_is_told_step_by_step() {
    let site = Scraped::start(false).await;
    site.set([1, 10, 2, 100]).await;
    let ask = asked(&events(), QUERIES);
    let source = Queries { url: site.prometheus.url(), ask, token: None };
    let asker = Asker::open(&source, &names(), &site.settings()).unwrap();
    let from = now();
    site.set([4, 30, 2, 300]).await;
    let told = asker.replay(from, now() + Duration::from_secs(1), Duration::from_millis(500)).await.unwrap();
    assert!(why(told[0].1.clone()).contains("first time"), "{told:?}");
    let sum = told.iter().fold((0, 0, 0), |sum, (_, said)| match said {
        Said::Events(split) => {
            (sum.0 + split.canary.events, sum.1 + split.canary.of, sum.2 + split.baseline.of)
        }
        Said::Numbers { .. } | Said::Nothing(_) => sum,
    });
    assert_eq!(sum, (3, 20, 200), "{told:?}");
}

fn now() -> Moment {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Moment::from_millis(since.as_millis() as u64)
}
