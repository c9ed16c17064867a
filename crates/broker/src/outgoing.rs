//! What a connection has to write: answers in the order of their requests, in pieces.
//!
//! Pieces that are in memory go out together, many in one call; records that were left in their log are sent from its file. Only bytes
//! that the page cache has are sent so, since nothing may wait for a device here; others are read where reading may wait
//! ([`crate::cold_reads`]) and written from memory.
//!
//! Bound: what the answers are charged for, in records ([`crate::api::fetch`]) and in requests ([`crate::connection`]).

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use dohle_env::net::{Interest, TcpStream};
use dohle_log::Deferred;
use dohle_wire::Segment;

use crate::budget::Charge;
use crate::cold_reads::ColdReads;
use crate::reading::InLog;
use crate::request::Peer;

/// The most slices one `writev` takes here.
const WRITE_SLICES: usize = 64;
/// How much is sent from a file before the page cache is asked again whether it has what follows.
const SENT_AT_ONCE: usize = 1 << 20;
/// How much is read where a file's bytes cannot be sent as they are.
const READ_AT_ONCE: usize = 256 << 10;

/// How much a connection may write before others have their turn: a response of many mebibytes takes a core for milliseconds, while its
/// client reads as fast as it is written.
const TURN: usize = 512 << 10;

/// What is left of a connection's turn to write.
pub struct Turn {
    left: usize,
}

impl Turn {
    pub fn new() -> Self {
        Self { left: TURN }
    }

    pub fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[derive(Default)]
pub struct Outgoing {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// What the answers hold until all are written.
    charges: Vec<Charge>,
    /// The records at the front are being read from the device.
    cold: Option<Pin<Box<dyn Future<Output = io::Result<Bytes>>>>>,
}

enum Piece {
    Here(Bytes),
    InLog {
        records: Arc<Deferred>,
        from: usize,
        /// Up to where the page cache has them.
        cached: usize,
        /// They cannot be sent, and are fetched.
        fetched: bool,
    },
}

impl Piece {
    fn of(segment: Segment) -> Self {
        match segment {
            Segment::Bytes(bytes) => Self::Here(bytes),
            Segment::Deferred(deferred) => {
                let deferred: Arc<dyn Any + Send + Sync> = deferred;
                let in_log = deferred.downcast::<InLog>().expect("only records of a log are deferred");
                Self::InLog { records: in_log.0.clone(), from: 0, cached: 0, fetched: false }
            }
        }
    }
}

impl Outgoing {
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts an answer behind the others, with what it is charged for until it is written.
    pub fn push(&mut self, segments: Vec<Segment>, charge: Charge, held: Option<Charge>) {
        self.bytes += segments.iter().map(Segment::size).sum::<usize>();
        self.pieces.extend(segments.into_iter().filter(|segment| segment.size() > 0).map(Piece::of));
        self.charges.push(charge);
        self.charges.extend(held);
    }

    /// Writes what the socket takes, as far as its turn goes, and says whether it took anything.
    pub fn poll_write(
        &mut self,
        stream: &TcpStream,
        reads: &ColdReads,
        peer: &Peer,
        turn: &mut Turn,
        cx: &mut Context<'_>,
    ) -> io::Result<bool> {
        let mut wrote = false;
        while !self.is_empty() && !turn.is_over() {
            if !self.poll_cold(cx)? {
                break;
            }
            // Written first, polled only when the socket's buffer is full: the usual response costs one system call.
            let written = match self.pieces.front() {
                Some(Piece::InLog { .. }) => self.send_records(stream, reads, peer, turn),
                Some(Piece::Here(_)) | None => self.write_pieces(stream, turn),
            };
            match written {
                Ok(written) => wrote |= written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match stream.poll_write_ready(cx) {
                        Poll::Ready(ready) => ready?,
                        Poll::Pending => break,
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(wrote)
    }

    /// Gathers the pieces in front that are in memory in one write.
    fn write_pieces(&mut self, stream: &TcpStream, turn: &mut Turn) -> io::Result<bool> {
        let mut slices = [io::IoSlice::new(&[]); WRITE_SLICES];
        let (mut count, mut left) = (0, turn.left);
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            let Piece::Here(bytes) = piece else { break };
            if left == 0 {
                break;
            }
            let most = bytes.len().min(left);
            *slice = io::IoSlice::new(&bytes[..most]);
            (count, left) = (count + 1, left - most);
        }
        match stream.try_write_vectored(&slices[..count])? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => {
                turn.left -= written;
                self.advance(written);
                Ok(true)
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let Some(Piece::Here(front)) = self.pieces.front_mut() else {
                panic!("no more was written than there is")
            };
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.pieces.pop_front();
        }
        self.written_all();
    }

    fn written_all(&mut self) {
        if self.pieces.is_empty() {
            self.charges.clear();
        }
    }

    /// Sends records at the front out of their log. `Ok(false)` when they have to be had in memory first.
    fn send_records(
        &mut self,
        stream: &TcpStream,
        reads: &ColdReads,
        peer: &Peer,
        turn: &mut Turn,
    ) -> io::Result<bool> {
        let Some(Piece::InLog { records, from, cached, fetched }) = self.pieces.front_mut() else {
            return Ok(false);
        };
        if *cached <= *from {
            let most = (records.size() - *from).min(SENT_AT_ONCE);
            match records.look(*from, most) {
                Ok(()) => *cached = *from + most,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.read_cold(reads, peer);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        if *fetched {
            return self.fetch_records(reads, peer);
        }
        // What was looked at is what is sent.
        let most = (*cached - *from).min(turn.left);
        match stream.try_io(Interest::WRITABLE, || records.send(*from, most, stream.as_fd())) {
            Ok(sent) => {
                *from += sent;
                self.bytes -= sent;
                turn.left -= sent;
                if *from == records.size() {
                    self.pieces.pop_front();
                    self.written_all();
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                *fetched = true;
                Ok(false)
            }
            Err(error) => {
                // When the socket takes more it may be long after this look.
                *cached = *from;
                Err(error)
            }
        }
    }

    /// Brings a part of the records at the front here, to be written like anything else.
    fn fetch_records(&mut self, reads: &ColdReads, peer: &Peer) -> io::Result<bool> {
        let Some(Piece::InLog { records, from, .. }) = self.pieces.front_mut() else { return Ok(false) };
        match records.fetch(*from, READ_AT_ONCE) {
            Ok(bytes) => {
                *from += bytes.len();
                if *from == records.size() {
                    self.pieces.pop_front();
                }
                self.pieces.push_front(Piece::Here(bytes));
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.read_cold(reads, peer);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Has the records at the front read and proven by a thread that may wait.
    fn read_cold(&mut self, reads: &ColdReads, peer: &Peer) {
        let Some(Piece::InLog { records, .. }) = self.pieces.front() else { return };
        let (records, reads, reader) = (records.clone(), reads.clone(), peer.session.peer);
        self.cold =
            Some(Box::pin(async move { reads.run(reader, move |manners| records.fetch_all(manners)).await }));
    }

    /// Whether the front is there to be written.
    fn poll_cold(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let Some(cold) = &mut self.cold else { return Ok(true) };
        let Poll::Ready(read) = cold.as_mut().poll(cx) else { return Ok(false) };
        self.cold = None;
        let all = read?;
        let Some(Piece::InLog { from, .. }) = self.pieces.pop_front() else {
            panic!("what was read is at the front")
        };
        self.pieces.push_front(Piece::Here(all.slice(from..)));
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
