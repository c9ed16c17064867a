//! One client: frames in, responses out in the order of the requests.
//!
//! One task owns a connection, on one core, for its whole life. It does four things in turn until none of them can go
//! on: start requests that have arrived, take finished responses from the head of the queue, write, read.
//!
//! Produce requests are pipelined: each is *dispatched* (its batches handed to the partitions' owners, in order) before the next
//! is looked at, and finished later. Any other request waits until those before it are done, as a Kafka broker makes every request wait.
//!
//! Bounds: [`PIPELINE_MAX`] requests, [`OUTGOING_MAX`] response bytes before no further request is started, the frame limit of the
//! session's state, the node's memory budget, what is written before others have their turn ([`crate::outgoing`]),
//! [`FRAME_DEADLINE`] for a frame to arrive, `connections.max.idle.ms` without any.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use dohle_env::net::TcpStream;
use dohle_env::task::Timer;
use dohle_env::{Tick, task};
use tokio::io::AsyncReadExt;
use tracing::debug;

use crate::budget::Charge;
use crate::core::Core;
use crate::dispatch::{self, Flow};
use crate::frames::{BadLength, FrameBuffer};
use crate::outgoing::{Outgoing, Turn};
use crate::request::{Later, NoRequest, Peer, Reply, Response, peek_key};

/// How many requests of one connection may be under way.
const PIPELINE_MAX: usize = 128;
/// Response bytes that may wait to be written before no further request is started.
const OUTGOING_MAX: usize = 1024 * 1024;
/// How long the rest of a frame may take once its first byte is here, beside a minute for each [`FRAME_RATE`].
const FRAME_DEADLINE: Duration = Duration::from_secs(30);
/// The least bytes a minute that a large frame has to bring.
const FRAME_RATE: usize = 4 * 1024 * 1024;
/// How many segments of answers are gathered for one write while further requests are there to be read. The first of them waits
/// for no more than the work on those.
const GATHERED: usize = 4;

/// Why a connection ended.
#[derive(Debug)]
pub enum End {
    /// The client closed it.
    Closed,
    /// Nothing came for `connections.max.idle.ms`.
    Idle,
    /// A frame took too long.
    Slow,
    /// The node is going down.
    Draining,
    /// A response could only be given by closing.
    Refused,
    BadLength(BadLength),
    NoRequest(NoRequest),
    Io(io::Error),
}

/// A request that waits for its response: counted by its core, charged for its bytes.
struct UnderWay {
    core: Rc<Core>,
    charge: Option<Charge>,
}

impl UnderWay {
    fn new(core: Rc<Core>, charge: Charge) -> Self {
        core.requests.set(core.requests.get() + 1);
        Self { core, charge: Some(charge) }
    }

    /// The request is answered; its bytes are held until the answer is written.
    fn done(mut self) -> Charge {
        self.charge.take().expect("a request is done once")
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.core.requests.set(self.core.requests.get() - 1);
    }
}

pub struct Connection {
    stream: TcpStream,
    core: Rc<Core>,
    peer: Rc<Peer>,
    frames: FrameBuffer,
    /// The charge of the frame that is arriving.
    charge: Charge,
    /// Responses that are not there yet, in the order of the requests.
    waiting: VecDeque<(Later, UnderWay)>,
    outgoing: Outgoing,
    timer: Timer,
    idle: Option<Duration>,
    last_activity: Tick,
    /// When the first byte of the arriving frame came.
    frame_started: Option<Tick>,
    /// The client sends nothing more. Complete frames that are here are still started: a producer with acks=0 may close at once.
    finished_sending: bool,
    /// Set once no further request will be started; the connection ends when all responses are written.
    ending: Option<End>,
}

/// Serves the client until the connection ends. Written by hand: an async function keeps a place for the connection in each of the
/// futures around it, and there are ten thousand that only wait.
impl Future for Connection {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<End> {
        self.get_mut().go_on(cx)
    }
}

impl Connection {
    pub fn new(stream: TcpStream, core: Rc<Core>, peer: Peer) -> Self {
        let limits = core.limits();
        let idle = limits.idle;
        Self {
            frames: FrameBuffer::new(limits.frame_max),
            charge: core.budget().open(),
            waiting: VecDeque::new(),
            outgoing: Outgoing::default(),
            timer: Timer::after(idle.unwrap_or(Duration::from_secs(3600))),
            idle,
            last_activity: core.env().clock.tick(),
            frame_started: None,
            finished_sending: false,
            ending: None,
            stream,
            core,
            peer: Rc::new(peer),
        }
    }

    fn go_on(&mut self, cx: &mut TaskContext<'_>) -> Poll<End> {
        let mut turn = Turn::new();
        loop {
            let started = self.start_requests();
            let mut moved = started | self.take_finished(cx);
            // While requests come one after the other, their answers go together.
            if !started || self.finished_sending || self.outgoing.pieces() >= GATHERED {
                match self.poll_write(&mut turn, cx) {
                    Ok(wrote) => moved |= wrote,
                    Err(error) => return Poll::Ready(End::Io(error)),
                }
            }
            // What is on its way goes as far as the socket takes it, in as many turns as that needs.
            if self.finished_sending && self.frames.peek(0).is_none() && !turn.is_over() {
                return Poll::Ready(End::Closed);
            }
            if self.waiting.is_empty() && self.outgoing.is_empty() {
                if let Some(end) = self.ending.take() {
                    return Poll::Ready(end);
                }
                if self.core.is_draining() {
                    return Poll::Ready(End::Draining);
                }
            }
            match self.poll_read(cx) {
                Ok(read) => moved |= read,
                Err(error) => return Poll::Ready(End::Io(error)),
            }
            if turn.is_over() {
                // Goes on when others have had their turn, and what has come for them has been looked for.
                _ = pin!(task::yield_now()).poll(cx);
                break;
            }
            if !moved {
                break;
            }
        }
        self.poll_deadlines(cx)
    }

    /// Starts what has arrived, as far as order and bounds allow.
    fn start_requests(&mut self) -> bool {
        let mut started = false;
        while self.ending.is_none() && self.may_start() {
            match self.frames.next_frame() {
                Ok(Some(frame)) => self.start(frame),
                Ok(None) => break,
                Err(bad) => self.ending = Some(End::BadLength(bad)),
            }
            started = true;
        }
        started
    }

    /// Whether the next complete frame, if there is one, may be started now.
    fn may_start(&self) -> bool {
        let full = self.waiting.len() >= PIPELINE_MAX || self.outgoing.bytes() > OUTGOING_MAX;
        if full || self.core.is_draining() {
            return false;
        }
        if self.waiting.is_empty() {
            return true;
        }
        match self.frames.peek(2).and_then(|head| head.first_chunk().copied()) {
            Some(key) => dispatch::flow(i16::from_be_bytes(key)) == Flow::Pipelined,
            None => false,
        }
    }

    fn start(&mut self, frame: Bytes) {
        let charge = std::mem::replace(&mut self.charge, self.core.budget().open());
        self.frame_started = None;
        self.last_activity = self.core.env().clock.tick();
        self.core.metrics.requests.add(1);
        let size = frame.len();
        let reply = match peek_key(&frame) {
            Some((key, version)) => dispatch::start(&self.core, &self.peer, key, version, frame),
            None => Err(NoRequest::UnknownApi(-1)),
        };
        match reply {
            Ok(Reply::Now(response)) if self.waiting.is_empty() => self.finish(response, charge),
            Ok(Reply::Now(response)) => self.wait_for(Box::pin(async { response }), charge),
            Ok(Reply::Later(later)) => self.wait_for(later, charge),
            Ok(Reply::Parked(later)) => {
                self.peer.parking.set(Some(charge));
                let nothing = self.core.budget().open();
                self.wait_for(later, nothing);
            }
            Err(reason) => {
                debug!(peer = %self.peer.session.peer, size, %reason, "closing a connection");
                self.ending = Some(End::NoRequest(reason));
            }
        }
    }

    fn wait_for(&mut self, later: Later, charge: Charge) {
        self.waiting.push_back((later, UnderWay::new(self.core.clone(), charge)));
    }

    /// Moves responses from the head of the queue to the outgoing bytes, as far as they are there.
    fn take_finished(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let mut took = false;
        while let Some((later, _)) = self.waiting.front_mut() {
            let Poll::Ready(response) = later.as_mut().poll(cx) else { break };
            let (_, under_way) = self.waiting.pop_front().expect("the front was just polled");
            // Of one that was refused before it came to a coordinator.
            self.peer.parking.take();
            self.finish(response, under_way.done());
            took = true;
        }
        took
    }

    fn finish(&mut self, response: Response, charge: Charge) {
        match response {
            Response::Frame(segments, held) => self.outgoing.push(segments, charge, held),
            Response::Nothing => {}
            Response::Close => {
                self.waiting.clear();
                self.ending = Some(End::Refused);
            }
        }
    }

    fn poll_write(&mut self, turn: &mut Turn, cx: &mut TaskContext<'_>) -> io::Result<bool> {
        let wrote = self.outgoing.poll_write(&self.stream, &self.core.cold_reads, &self.peer, turn, cx)?;
        if wrote && self.outgoing.is_empty() {
            self.last_activity = self.core.env().clock.tick();
        }
        Ok(wrote)
    }

    fn poll_read(&mut self, cx: &mut TaskContext<'_>) -> io::Result<bool> {
        // A complete frame that may not be started yet has to go first: what else the client sends waits in the kernel.
        if self.ending.is_some() || self.finished_sending || self.frames.peek(0).is_some() {
            return Ok(false);
        }
        if self.charge.poll_grow(self.frames.partial(), cx).is_pending() {
            return Ok(false);
        }
        match self.stream.poll_read_ready(cx) {
            Poll::Ready(ready) => ready?,
            Poll::Pending => return Ok(false),
        }
        // A read that leaves room has emptied the socket, and is not followed by one that finds nothing.
        let read = if self.frames.earns_room() {
            let stream = &mut self.stream;
            self.frames.fill(|room| pin!(stream.read_buf(room)).poll(cx))
        } else {
            let mut scratch = self.core.scratch.borrow_mut();
            let read = pin!(self.stream.read_buf(scratch.cleared())).poll(cx);
            self.frames.put(scratch.read());
            read
        };
        match read {
            Poll::Ready(Ok(0)) => self.finished_sending = true,
            Poll::Ready(Ok(_)) => {
                if self.frames.partial() > 0 && self.frame_started.is_none() {
                    self.frame_started = Some(self.core.env().clock.tick());
                }
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {
                self.frames.rest();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends the connection when it has been silent, or one frame has been coming, for too long.
    fn poll_deadlines(&mut self, cx: &mut TaskContext<'_>) -> Poll<End> {
        while self.timer.poll(cx).is_ready() {
            let now = self.core.env().clock.tick();
            if self.frames.partial() > 0 && self.frames.peek(0).is_none() {
                let started = *self.frame_started.get_or_insert(now);
                let minutes = u32::try_from(self.frames.partial() / FRAME_RATE).unwrap_or(u32::MAX);
                let allowed = FRAME_DEADLINE + Duration::from_secs(60) * minutes;
                if now.since(started) >= allowed {
                    return Poll::Ready(End::Slow);
                }
                self.timer.reset(FRAME_DEADLINE);
                continue;
            }
            let Some(idle) = self.idle else {
                self.timer.reset(Duration::from_secs(3600));
                continue;
            };
            let silent = now.since(self.last_activity);
            if silent >= idle && self.waiting.is_empty() {
                return Poll::Ready(End::Idle);
            }
            self.timer.reset(idle.saturating_sub(silent).max(FRAME_DEADLINE.min(idle)));
        }
        Poll::Pending
    }
}
