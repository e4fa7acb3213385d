//! A Prometheus server, asked by its HTTP API: <https://prometheus.io/docs/prometheus/latest/querying/api/>.
//!
//! Invariants: all queries of one answer are of one moment, which the server's own clock names; a sample that was taken long before is
//! as good as none; where each process's own counter is asked for (and no sum) a restart is counted exactly.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use footplate_core::moment::Moment;
use footplate_core::verdict::Said;
use footplate_core::verdict::source::{self, Asked, Names};
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::Value;

use super::client::Address;
use super::counters::Counting;
use super::{Ask, Counter, Counters, KpiError, KpiOpenError, Settings, Told, reason, said};

/// A sample older than this tells nothing of the present. Prometheus itself takes one for five minutes.
pub const AGE_MAX: Duration = Duration::from_secs(120);
/// The name of the metric, which a series has that is no result of a function or a sum.
const NAME: &str = "__name__";

/// A server and its queries, filled.
pub struct Prometheus {
    address: Address,
    ask: Asked,
}

/// What a query is answered with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// One series of a vector (`value`) or of a matrix (`values`).
#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<Sample>,
    #[serde(default)]
    values: Vec<Sample>,
}

/// Seconds since 1970, and a number as text.
type Sample = (f64, String);

impl Prometheus {
    /// Prepares to ask; asks nothing.
    pub fn open(
        source: &source::Prometheus,
        names: &Names,
        settings: &Settings,
    ) -> Result<Self, KpiOpenError> {
        let address = Address::open(&source.url, source.token.as_deref(), settings)?;
        Ok(Self { address, ask: source.ask.map(|query| names.fill(query, str::to_owned)) })
    }

    /// Returns what happened in each step from `from` on until `until`, as [`super::Kpi::ask`] would have said it then.
    pub async fn replay(
        &self,
        from: Moment,
        until: Moment,
        step: Duration,
    ) -> Result<Vec<(Moment, Said)>, KpiError> {
        let seconds = |at: Moment| format!("{:.3}", at.as_millis() as f64 / 1000.0);
        let (from_text, until_text) = (seconds(from), seconds(until));
        let step_text = format!("{:.3}", step.as_secs_f64());
        let range = |query: &str| {
            let query = query.to_owned();
            let (from, until, step) = (&from_text, &until_text, &step_text);
            async move {
                let form = [("query", query.as_str()), ("start", from), ("end", until), ("step", step)];
                self.matrix(self.post("query_range", &form).await?)
            }
        };
        let matrices = try_join_all(self.ask.texts().map(range)).await?;
        let (mut counting, mut told, begin) = (Counting::default(), Vec::new(), Instant::now());
        let mut at = from;
        while at <= until {
            let now = begin + at.since(from);
            let found: Result<Vec<_>, _> = matrices.iter().map(|matrix| at_moment(matrix, at)).collect();
            let said = found.and_then(|found| self.told(found)).and_then(|it| said(it, &mut counting, now));
            told.push((at, said.unwrap_or_else(|why| Said::Nothing(reason(&why)))));
            at = at + step;
        }
        Ok(told)
    }

    async fn post(&self, what: &str, form: &[(&str, &str)]) -> Result<Data, KpiError> {
        let mut url = self.address.url.clone();
        let path = format!("{}/api/v1/{what}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let mut answer = self.address.post(url, form).await?;
        let data = answer.get_mut("data").map(Value::take).unwrap_or_default();
        serde_json::from_value(data).map_err(|_| self.address.nonsense("it is no answer of Prometheus"))
    }

    /// Asks one query at a moment (now when none is given) and returns its series with the moment.
    async fn instant(&self, query: &str, at: Option<f64>) -> Result<(f64, Counter), KpiError> {
        let time = at.map(|at| format!("{at:.3}"));
        let mut form = vec![("query", query)];
        form.extend(time.as_deref().map(|time| ("time", time)));
        let data = self.post("query", &form).await?;
        let nonsense = |why: &str| self.address.nonsense(format!("{why}: {}", crate::http::excerpt(query)));
        if data.result_type == "scalar" {
            let sample: Sample = serde_json::from_value(data.result).map_err(|_| nonsense("no scalar"))?;
            let value = parse(&sample.1).ok_or_else(|| nonsense("no number"))?;
            return Ok((sample.0, Counter::sum(value)));
        }
        if data.result_type != "vector" {
            return Err(nonsense("the query has no instant vector"));
        }
        let series: Vec<Series> = serde_json::from_value(data.result).map_err(|_| nonsense("no vector"))?;
        let is_raw = !series.is_empty() && series.iter().all(|series| series.metric.contains_key(NAME));
        let (mut values, mut moment) = (BTreeMap::new(), None);
        for series in series {
            let (time, value) = series.value.ok_or_else(|| nonsense("a series has no value"))?;
            moment = Some(time);
            values.insert(label(&series.metric), parse(&value).ok_or_else(|| nonsense("no number"))?);
        }
        let moment = moment.ok_or_else(|| nonsense("the query finds nothing"))?;
        Ok((moment, Counter { series: values, is_raw }))
    }

    /// Finds samples that are too old, where it is known when they were taken.
    async fn check_age(&self, query: &str, found: &Counter, at: f64) -> Result<(), KpiError> {
        if !found.is_raw {
            return Ok(());
        }
        let (_, taken) = self.instant(&format!("timestamp({query})"), Some(at)).await?;
        let oldest = taken.series.values().copied().fold(f64::INFINITY, f64::min);
        if at - oldest > AGE_MAX.as_secs_f64() {
            return Err(self.address.nonsense(format!(
                "what it knows is {:.0} s old: {}",
                at - oldest,
                crate::http::excerpt(query)
            )));
        }
        Ok(())
    }

    fn matrix(&self, data: Data) -> Result<Vec<Series>, KpiError> {
        if data.result_type != "matrix" {
            return Err(self.address.nonsense("the query has no range of values"));
        }
        serde_json::from_value(data.result).map_err(|_| self.address.nonsense("it is no matrix"))
    }

    /// Makes one answer of what each query found, in the order of [`Asked::texts`].
    fn told(&self, found: Vec<Counter>) -> Result<Told, String> {
        let mut found = found.into_iter();
        let mut next = || found.next().ok_or_else(|| "a query has no answer".to_owned());
        match &self.ask {
            Asked::Number { baseline, .. } => {
                let canary = one(&next()?)?;
                let baseline = baseline.as_ref().map(|_| next().and_then(|found| one(&found))).transpose()?;
                Ok(Told::Number { canary, baseline })
            }
            Asked::Counters { .. } => {
                let [canary, baseline] = [next()?, next()?];
                let [canary_of, baseline_of] = [next()?, next()?];
                Ok(Told::Counters(Box::new(Counters { canary, canary_of, baseline, baseline_of })))
            }
        }
    }
}

#[async_trait]
impl Ask for Prometheus {
    async fn fetch(&self) -> Result<Told, KpiError> {
        let queries: Vec<&str> = self.ask.texts().collect();
        let (at, first) = self.instant(queries[0], None).await?;
        let others = queries[1..].iter().map(|query| self.instant(query, Some(at)));
        let others = try_join_all(others).await?.into_iter().map(|(_, found)| found);
        let found: Vec<Counter> = std::iter::once(first).chain(others).collect();
        let ages = queries.iter().zip(&found).map(|(query, found)| self.check_age(query, found, at));
        try_join_all(ages).await?;
        self.told(found).map_err(|why| self.address.nonsense(why))
    }
}

/// Returns the one number of an answer.
fn one(found: &Counter) -> Result<f64, String> {
    match found.series.len() {
        1 => Ok(found.series.values().copied().sum()),
        0 => Err("the query finds nothing".to_owned()),
        many => Err(format!("the query has {many} values, and one is needed: put sum() or max() around it")),
    }
}

/// Returns what a matrix had at one of its moments.
fn at_moment(matrix: &[Series], at: Moment) -> Result<Counter, String> {
    let seconds = at.as_millis() as f64 / 1000.0;
    let mut found = Counter { series: BTreeMap::new(), is_raw: true };
    for series in matrix {
        let here = series.values.binary_search_by(|sample| sample.0.total_cmp(&seconds));
        // The server rounds to milliseconds as we do; a float may differ in its last bit.
        let near = here.or_else(|place| {
            let is_near =
                |place: &usize| series.values.get(*place).is_some_and(|it| (it.0 - seconds).abs() < 0.0005);
            [place, place.wrapping_sub(1)].into_iter().find(is_near).ok_or(())
        });
        let Ok(place) = near else { continue };
        let value = parse(&series.values[place].1).ok_or("no number")?;
        found.series.insert(label(&series.metric), value);
        found.is_raw &= series.metric.contains_key(NAME);
    }
    if found.series.is_empty() { Err("the query finds nothing".to_owned()) } else { Ok(found) }
}

fn label(metric: &BTreeMap<String, String>) -> String {
    metric.iter().map(|(name, value)| format!("{name}={value:?},")).collect()
}

/// Reads a number as Prometheus writes it.
fn parse(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}
