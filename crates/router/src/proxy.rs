//! A request's way: judged, routed, drawn, tried, tried again, held, answered.
//!
//! Invariants: a request that may have reached an endpoint is sent again only if it is idempotent and has no body; one that
//! never did is tried elsewhere, or held. It keeps its version as long as that has an endpoint that takes it.

use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::futures::Notified;
use tokio::time::{Instant, timeout_at};

use crate::attempt::{Asked, Attempt, Miss};
use crate::body::{Answer, Download, Outgoing, Progress, Stand, Upload};
use crate::count::Fault;
use crate::headers::Caller;
use crate::key::Client;
use crate::line::Line;
use crate::live::{Endpoint, Lobby, Service};
use crate::reply::{self, Reason};
use crate::stream::Pulse;
use crate::table::Stickiness;
use crate::worker::{Seat, Worker};
use crate::{framing, headers, key, table, tunnel};

/// How long a request that is held leaves endpoints alone that are just being tried.
const RETURN_PAUSE: Duration = Duration::from_millis(5);

thread_local! {
    static RANDOM: RefCell<SmallRng> = RefCell::new(SmallRng::from_os_rng());
}

fn random() -> u64 {
    RANDOM.with_borrow_mut(|random| random.random())
}

/// A request that is on its way.
struct Trip<'a> {
    worker: &'a Arc<Worker>,
    service: Arc<Service>,
    point: u64,
    asked: Asked<'a>,
    /// It came without a host, as HTTP/1.0 may: towards an endpoint it gets that one's address.
    is_nameless: bool,
    tried: Vec<Arc<Endpoint>>,
    /// Times it was sent.
    sent: u32,
    /// Until when it is held, once it had to wait.
    deadline: Option<Instant>,
}

/// Answers a client's request.
pub async fn answer(
    worker: &Arc<Worker>,
    caller: &Caller,
    pulse: &Arc<Pulse>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let version = request.version();
    let mut response = match forward(worker, caller, pulse, request).await {
        Ok(response) => response,
        Err(reason) => {
            worker.counts.refused(reason);
            reply::of(reason)
        }
    };
    match version {
        Version::HTTP_2 => {
            response.headers_mut().remove(CONNECTION);
        }
        _ if worker.is_leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS => {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

async fn forward(
    worker: &Arc<Worker>,
    caller: &Caller,
    pulse: &Arc<Pulse>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Reason> {
    let (mut parts, incoming) = request.into_parts();
    framing::judge(&parts).map_err(Reason::Request)?;
    if headers::has_passed(&parts.headers, &worker.via) {
        return Err(Reason::Loop);
    }
    let service = route(worker, &parts).ok_or(Reason::NoRoute)?;
    let Drawn { point, client: asking, gift } = draw(&service.settings.stickiness, &parts, caller);
    let wants_tunnel = framing::wants_tunnel(&parts) && incoming.is_end_stream();
    let client = wants_tunnel.then(|| parts.extensions.remove::<OnUpgrade>()).flatten();
    parts.extensions.clear();
    headers::to_endpoint(&mut parts, caller, &worker.via, client.is_some());
    let (request, progress) =
        outgoing(parts, incoming, &service.settings, worker.limits.body_time_max, pulse)?;
    let is_nameless = !request.headers().contains_key(HOST);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let asked = Asked { failures: &worker.failures, client: asking, method, uri };
    let trip =
        Trip { worker, service, point, asked, is_nameless, tried: Vec::new(), sent: 0, deadline: None };
    let mut response = trip.run(request, progress, client).await?;
    if let Some(gift) = gift {
        response.headers_mut().append(SET_COOKIE, gift);
    }
    Ok(response)
}

fn route(worker: &Worker, parts: &Parts) -> Option<Arc<Service>> {
    let live = worker.live.load();
    let host = match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    };
    live.routes.find(host, parts.uri.path()).map(|place| Arc::clone(&live.services[place]))
}

/// Where a request goes.
struct Drawn {
    /// Its point.
    point: u64,
    /// Who asks. One who was just given a cookie may never show it again: his address says who he is until he does.
    client: Client,
    /// The cookie that he is given to stay there.
    gift: Option<HeaderValue>,
}

fn draw(stickiness: &Stickiness, parts: &Parts, caller: &Caller) -> Drawn {
    let address = caller.origin(&parts.headers);
    let by_key = |point| Drawn { point, client: Client::Point(point), gift: None };
    let by_chance = |point, gift| Drawn { point, client: Client::Address(address), gift };
    match stickiness {
        Stickiness::None => by_chance(random(), None),
        Stickiness::Address { salt } => by_key(key::point_of_address(salt, address)),
        Stickiness::Header { name, salt } => match parts.headers.get(name) {
            Some(value) => by_key(key::point(salt, value.as_bytes())),
            None => by_chance(random(), None),
        },
        Stickiness::Cookie { name, salt, give } => match key::cookie(&parts.headers, name) {
            Some(value) => by_key(key::point(salt, value)),
            None if !give => by_chance(random(), None),
            None => {
                let value = format!("{:016x}{:016x}", random(), random());
                let line = format!("{name}={value}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
                by_chance(key::point(salt, value.as_bytes()), HeaderValue::try_from(line).ok())
            }
        },
    }
}

/// Makes our request to an endpoint out of the client's.
fn outgoing(
    mut parts: Parts,
    incoming: Incoming,
    settings: &table::Service,
    body_time_max: Duration,
    pulse: &Arc<Pulse>,
) -> Result<(Request<Outgoing>, Option<Arc<Progress>>), Reason> {
    let bytes_max = match settings.limits.body_bytes {
        0 => u64::MAX,
        limit => limit,
    };
    if incoming.size_hint().lower() > bytes_max {
        return Err(Reason::TooLarge);
    }
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        let path = parts.uri.path_and_query().cloned();
        parts.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
    parts.version = Version::HTTP_11;
    if incoming.is_end_stream() {
        return Ok((Request::from_parts(parts, Outgoing::Empty), None));
    }
    // The body is framed anew: by its length when that is known, else in chunks.
    if incoming.size_hint().exact().is_none() {
        parts.headers.remove(CONTENT_LENGTH);
    }
    let upload = Upload::new(incoming, bytes_max, body_time_max, pulse.upload());
    let progress = upload.progress();
    Ok((Request::from_parts(parts, Outgoing::Upload(Box::new(upload))), Some(progress)))
}

/// What is needed to send a request once more.
fn copy(request: &Request<Outgoing>) -> Request<Outgoing> {
    let mut copy = Request::new(Outgoing::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

impl Trip<'_> {
    async fn run(
        mut self,
        mut request: Request<Outgoing>,
        progress: Option<Arc<Progress>>,
        client: Option<OnUpgrade>,
    ) -> Result<Response<Answer>, Reason> {
        let is_safe =
            is_idempotent(request.method()) && matches!(request.body(), Outgoing::Empty) && client.is_none();
        loop {
            let (endpoint, mut attempt) = self.begin().await?;
            if self.tried.is_empty() {
                self.service.sample.note(attempt.second(), || self.asked.client.key());
            }
            if self.is_nameless {
                let address = HeaderValue::try_from(endpoint.address.to_string());
                request.headers_mut().insert(HOST, address.expect("an address is a value"));
            }
            let timeouts = &Arc::clone(&self.service).settings.timeouts;
            let again =
                (is_safe && self.sent < self.service.settings.retries.attempts).then(|| copy(&request));
            match attempt.send(request, &self.asked, timeouts, is_safe, client.is_some()).await {
                Ok((response, line)) => {
                    return Ok(respond(self.worker, response, attempt, line, progress, client, timeouts));
                }
                Err(Miss::Unsent(same)) => request = *same,
                Err(Miss::Lost(fault)) => {
                    self.sent += 1;
                    request = self.may_repeat(fault, again, progress.as_deref())?;
                }
            }
            drop(attempt);
            self.tried.push(endpoint);
        }
    }

    /// Decides whether a request that may have reached its endpoint is sent again.
    fn may_repeat(
        &self,
        fault: Fault,
        again: Option<Request<Outgoing>>,
        progress: Option<&Progress>,
    ) -> Result<Request<Outgoing>, Reason> {
        match (fault, progress.map(Progress::stand)) {
            (_, Some(Stand::TooLarge)) => Err(Reason::TooLarge),
            (_, Some(Stand::Slow)) => Err(Reason::Slow),
            (Fault::Timeout, _) => Err(Reason::Timeout),
            _ => again.ok_or(Reason::Broken),
        }
    }

    /// Finds an endpoint that takes the request, and waits for one where there is none.
    async fn begin(&mut self) -> Result<(Arc<Endpoint>, Attempt), Reason> {
        loop {
            if let Some(begun) = self.try_begin() {
                return Ok(begun);
            }
            let lobby = Arc::clone(&self.service.lobby);
            let mut news = pin!(lobby.news.notified());
            // Registered before the second look, so that nothing that happens in between is missed.
            news.as_mut().enable();
            self.look_again()?;
            if let Some(begun) = self.try_begin() {
                return Ok(begun);
            }
            self.hold(&lobby, news).await?;
            self.look_again()?;
        }
    }

    fn try_begin(&self) -> Option<(Arc<Endpoint>, Attempt)> {
        loop {
            let endpoint = self.service.choose(self.point, random(), &self.tried)?;
            // Without an attempt the latch was shut in between, and is not chosen again.
            if let Some(attempt) = Attempt::begin(&endpoint, !self.tried.is_empty()) {
                return Some((endpoint, attempt));
            }
        }
    }

    /// Waits until an endpoint may be there.
    async fn hold(&mut self, lobby: &Lobby, news: Pin<&mut Notified<'_>>) -> Result<(), Reason> {
        let hold = &self.service.settings.hold;
        let deadline =
            *self.deadline.get_or_insert_with(|| Instant::now() + Duration::from_millis(hold.time_ms));
        let held = Held::take(lobby, hold.requests).filter(|_| Instant::now() < deadline);
        if held.is_some() {
            let wake = match self.service.next_return() {
                Some(soon) => deadline.min(Instant::now() + soon.max(RETURN_PAUSE)),
                None => deadline,
            };
            // Woken or not: whoever looks again sees.
            drop(timeout_at(wake, news).await);
        }
        if held.is_none() || Instant::now() >= deadline {
            lobby.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Reason::NoEndpoint);
        }
        Ok(())
    }

    /// Takes the service from the table that is in force now.
    fn look_again(&mut self) -> Result<(), Reason> {
        let live = self.worker.live.load();
        let service = live.services.iter().find(|service| service.name == self.service.name);
        self.service = Arc::clone(service.ok_or(Reason::NoRoute)?);
        Ok(())
    }
}

/// One of those that are held.
struct Held<'a>(&'a Lobby);

impl Held<'_> {
    fn take(lobby: &Lobby, most: usize) -> Option<Held<'_>> {
        let held = Held(lobby);
        if lobby.waiting.fetch_add(1, Ordering::Relaxed) >= most {
            return None;
        }
        lobby.held.fetch_add(1, Ordering::Relaxed);
        Some(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes our answer to the client out of the endpoint's.
fn respond(
    worker: &Arc<Worker>,
    mut response: Response<Incoming>,
    attempt: Attempt,
    line: Line,
    progress: Option<Arc<Progress>>,
    client: Option<OnUpgrade>,
    timeouts: &table::Timeouts,
) -> Response<Answer> {
    let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    headers::to_client(response.headers_mut(), is_tunnel);
    if !is_tunnel {
        let (parts, incoming) = response.into_parts();
        let download = Download::new(incoming, attempt, Some(line), progress, table::time(timeouts.body_ms));
        return Response::from_parts(parts, Answer::download(download));
    }
    let endpoint = hyper::upgrade::on(&mut response);
    let Some(client) = client else {
        // Nobody asked for another protocol.
        return reply::of(Reason::Broken);
    };
    let lasting = (attempt, Seat::keep(worker));
    tokio::spawn(tunnel::join(client, endpoint, lasting, table::time(timeouts.tunnel_ms)));
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, Answer::empty())
}
