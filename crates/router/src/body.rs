//! Bodies on their way: pieces are passed on as they come, never collected.
//!
//! An [`Answer`] carries its attempt, so that an endpoint has a request in flight exactly until the last piece of its answer was
//! taken or the client is gone.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::attempt::Attempt;
use crate::line::Line;
use crate::stream::{Coming, Serving};
use crate::taking::Taking;

type Trouble = Box<dyn Error + Send + Sync>;
type Polled = Poll<Option<Result<Frame<Bytes>, Trouble>>>;

/// A bound on the time between two pieces.
#[derive(Debug, Default)]
struct Patience {
    time_max: Option<Duration>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(time_max: Option<Duration>) -> Patience {
        Patience { time_max, alarm: None }
    }

    /// Notes that a piece came.
    fn rest(&mut self) {
        self.alarm = None;
    }

    /// Notes that none came yet; ready when that has taken too long.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(time_max) = self.time_max else { return Poll::Pending };
        self.alarm.get_or_insert_with(|| Box::pin(sleep(time_max))).as_mut().poll(context)
    }
}

/// How an upload stands, for whoever waits for the answer.
#[derive(Debug, Default)]
pub struct Progress(AtomicU8);

/// The states of [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// More is to come.
    Going,
    /// All of it was passed on.
    Whole,
    /// It is larger than the service takes.
    TooLarge,
    /// The client stopped sending.
    Slow,
    /// The client is gone, or its framing is wrong.
    Broken,
}

impl Progress {
    fn set(&self, stand: Stand) {
        self.0.store(stand as u8, Ordering::Relaxed);
    }

    /// Returns how it stands.
    pub fn stand(&self) -> Stand {
        let all = [Stand::Going, Stand::Whole, Stand::TooLarge, Stand::Slow, Stand::Broken];
        all[usize::from(self.0.load(Ordering::Relaxed)).min(all.len() - 1)]
    }
}

/// The body of a request to an endpoint.
#[derive(Debug)]
pub enum Outgoing {
    /// There is none.
    Empty,
    /// What the client sends, as it comes.
    Upload(Box<Upload>),
}

/// What a client sends.
#[derive(Debug)]
pub struct Upload {
    incoming: Incoming,
    left: u64,
    patience: Patience,
    progress: Arc<Progress>,
    coming: Coming,
}

impl Upload {
    /// Passes on a body of at most `bytes_max` bytes that has at most `time_max` between two pieces.
    pub fn new(incoming: Incoming, bytes_max: u64, time_max: Duration, coming: Coming) -> Upload {
        let patience = Patience::new(Some(time_max));
        Upload { incoming, left: bytes_max, patience, progress: Arc::default(), coming }
    }

    /// Returns where to read how it stands.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    fn fail(&self, stand: Stand, why: &'static str) -> Polled {
        self.progress.set(stand);
        Poll::Ready(Some(Err(why.into())))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        loop {
            let polled = Pin::new(&mut self.incoming).poll_frame(context);
            if polled.is_pending() {
                ready!(self.patience.wait(context));
                return self.fail(Stand::Slow, "the client stopped sending");
            }
            self.patience.rest();
            self.coming.piece();
            match ready!(polled) {
                None => {
                    self.progress.set(Stand::Whole);
                    return Poll::Ready(None);
                }
                Some(Err(_)) => return self.fail(Stand::Broken, "the client broke off"),
                // A client's trailers could say what its headers may not.
                Some(Ok(frame)) if frame.is_trailers() => {}
                Some(Ok(frame)) => return self.pass(frame),
            }
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Polled {
        let size = frame.data_ref().map_or(0, |piece| piece.len() as u64);
        let Some(left) = self.left.checked_sub(size) else {
            return self.fail(Stand::TooLarge, "the body is larger than the service takes");
        };
        self.left = left;
        if self.incoming.is_end_stream() {
            self.progress.set(Stand::Whole);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Trouble;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        match self.get_mut() {
            Outgoing::Empty => Poll::Ready(None),
            Outgoing::Upload(upload) => upload.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Empty => true,
            Outgoing::Upload(upload) => upload.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Empty => SizeHint::with_exact(0),
            Outgoing::Upload(upload) => upload.incoming.size_hint(),
        }
    }
}

/// The body of an answer to a client.
#[derive(Debug)]
pub struct Answer {
    content: Content,
    serving: Option<Serving>,
    taking: Option<Arc<Taking>>,
}

#[derive(Debug)]
enum Content {
    Text(Option<Bytes>),
    Download(Download),
}

/// What an endpoint sends, with the attempt that it ends and the connection that it comes over.
#[derive(Debug)]
pub struct Download {
    incoming: Incoming,
    attempt: Option<Attempt>,
    line: Option<Line>,
    progress: Option<Arc<Progress>>,
    patience: Patience,
    broken: Option<Trouble>,
}

impl Download {
    /// Passes on an answer. The connection rests again once all was taken, if the request's body had ended as well.
    pub fn new(
        incoming: Incoming,
        attempt: Attempt,
        line: Option<Line>,
        progress: Option<Arc<Progress>>,
        time_max: Option<Duration>,
    ) -> Download {
        let patience = Patience::new(time_max);
        let mut download =
            Download { incoming, attempt: Some(attempt), line, progress, patience, broken: None };
        if download.incoming.is_end_stream() {
            download.finish();
        }
        download
    }

    fn finish(&mut self) {
        let is_whole = self.progress.as_ref().is_none_or(|progress| progress.stand() == Stand::Whole);
        if let (Some(attempt), Some(line)) = (self.attempt.take(), self.line.take().filter(|_| is_whole)) {
            attempt.rest(line);
        }
    }

    fn cut(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            attempt.cut();
        }
        self.line = None;
    }

    /// Ends with an error, a turn later: what came before it is written out until then.
    fn break_off(&mut self, why: Trouble, context: &mut Context<'_>) -> Polled {
        self.cut();
        self.broken = Some(why);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        if let Some(why) = self.broken.take() {
            return Poll::Ready(Some(Err(why)));
        }
        let polled = match &mut self.line {
            Some(line) => line.draw(&mut self.incoming, context),
            None => Pin::new(&mut self.incoming).poll_frame(context),
        };
        if polled.is_pending() {
            ready!(self.patience.wait(context));
            self.cut();
            return Poll::Ready(Some(Err("the endpoint stopped sending".into())));
        }
        self.patience.rest();
        match ready!(polled) {
            Some(Err(why)) => self.break_off(why.into(), context),
            Some(Ok(frame)) if !self.incoming.is_end_stream() => Poll::Ready(Some(Ok(frame))),
            last => {
                self.finish();
                Poll::Ready(last.map(|frame| frame.map_err(Into::into)))
            }
        }
    }
}

impl Answer {
    fn of(content: Content) -> Answer {
        Answer { content, serving: None, taking: Taking::here() }
    }

    /// Makes a body of a few words.
    pub fn text(text: Bytes) -> Answer {
        Answer::of(Content::Text(Some(text)))
    }

    /// Makes a body that passes on what an endpoint sends.
    pub fn download(download: Download) -> Answer {
        Answer::of(Content::Download(download))
    }

    /// Makes an empty body.
    pub fn empty() -> Answer {
        Answer::of(Content::Text(None))
    }

    /// Lets the client's connection know when this answer is over.
    pub fn beat(&mut self, serving: Serving) {
        self.serving = Some(serving);
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Trouble;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        let polled = match &mut this.content {
            Content::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Download(download) => download.poll(context),
        };
        if let Some(taking) = &this.taking {
            taking.note(polled.is_ready());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Text(text) => text.is_none(),
            Content::Download(download) => download.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Download(download) => download.incoming.size_hint(),
        }
    }
}
