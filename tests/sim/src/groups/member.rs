//! What members of both protocols share: who they are, what they have, what they have asked, and how they ask.

use std::collections::BTreeSet;

use dohle_coordinator::frame::ReplyTo;
use dohle_coordinator::groups::{Ask, Client, Request, Response};
use dohle_types::ErrorCode;
use dohle_wire::Text;

use super::catalog::Catalog;
use super::ledger::Ledger;
use super::truth::Spot;
use super::{classic, consumer};
use crate::kernel::Chance;
use crate::marks::Marks;
use crate::network::Line;

/// How long a member waits for an answer that nothing delays.
pub const REQUEST_TIMEOUT_MS: u64 = 3_000;
/// How long it waits before it asks a coordinator again that could not answer.
pub const BACKOFF_MS: u64 = 100;

/// A process that is a member of a group, or wants to be.
#[derive(Debug)]
pub struct Member {
    pub place: usize,
    pub group: Text,
    pub instance: Option<Text>,
    /// Numbers of topics.
    pub topics: Vec<usize>,
    pub protocol: Protocol,
    /// Tells a process from the one before it.
    pub life: u32,
    pub alive: bool,
    /// Stands still until then.
    pub paused_until_ms: u64,
    /// Empty: it has none.
    pub id: Text,
    /// Of the member, or the generation of its classic group.
    pub epoch: i32,
    /// What it believes to own.
    pub owned: BTreeSet<Spot>,
    /// The epoch in which it was given that.
    pub given_at: i32,
    /// The group has gone on without it since it came to own what it owns.
    pub void: bool,
    pub slots: [Option<Waiting>; SLOTS],
    pub up: Line,
    pub down: Line,
}

#[derive(Debug)]
pub enum Protocol {
    Classic(classic::Client),
    Consumer(consumer::Client),
}

/// Requests that a member may have under way at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Joins, syncs, leaves; all heartbeats of the consumer protocol.
    Main,
    /// Heartbeats of the classic protocol.
    Beat,
    Offsets,
}

const SLOTS: usize = 3;

#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub to: ReplyTo,
    pub until_ms: u64,
}

/// What the shell makes of an answer: a response, or an error that stands for one.
pub type Answer = Result<Response, ErrorCode>;

/// What a member acts with.
#[derive(Debug)]
pub struct Hands<'a> {
    pub now_ms: u64,
    pub chance: &'a mut Chance,
    pub marks: &'a mut Marks,
    pub catalog: &'a Catalog,
    pub ledger: &'a mut Ledger,
    pub next_reply: &'a mut u64,
    pub sent: Vec<(ReplyTo, Request)>,
}

impl Hands<'_> {
    pub fn send(&mut self, slot: &mut Option<Waiting>, version: i16, ask: Ask, timeout_ms: u64) {
        *self.next_reply += 1;
        let to = ReplyTo(*self.next_reply);
        *slot = Some(Waiting { to, until_ms: self.now_ms + timeout_ms });
        let client = Client { id: Text::from_static("sim"), host: Text::from_static("/127.0.0.1") };
        self.sent.push((to, Request { client, version, ask }));
    }
}

impl Member {
    /// Looks at the clock and does what is to be done.
    pub fn act(&mut self, hands: &mut Hands<'_>) {
        for slot in [Slot::Main, Slot::Beat, Slot::Offsets] {
            let waits = &mut self.slots[slot as usize];
            if waits.is_some_and(|waiting| waiting.until_ms <= hands.now_ms) {
                *waits = None;
                self.unanswered(slot, hands);
            }
        }
        match &mut self.protocol {
            Protocol::Classic(_) => classic::act(self, hands),
            Protocol::Consumer(_) => consumer::act(self, hands),
        }
    }

    pub fn answered(&mut self, to: ReplyTo, answer: Answer, hands: &mut Hands<'_>) {
        let slot = [Slot::Main, Slot::Beat, Slot::Offsets]
            .into_iter()
            .find(|slot| self.slots[*slot as usize].is_some_and(|waiting| waiting.to == to));
        // An answer that nobody waits for any more.
        let Some(slot) = slot else { return };
        self.slots[slot as usize] = None;
        if slot == Slot::Offsets {
            return;
        }
        match &mut self.protocol {
            Protocol::Classic(_) => classic::answered(self, answer, hands),
            Protocol::Consumer(_) => consumer::answered(self, answer, hands),
        }
        self.settle();
    }

    fn unanswered(&mut self, slot: Slot, hands: &mut Hands<'_>) {
        hands.marks.hit("a request is not answered");
        match (&mut self.protocol, slot) {
            (_, Slot::Offsets) | (Protocol::Classic(_), Slot::Beat) => {}
            (Protocol::Classic(client), _) => client.unanswered(),
            (Protocol::Consumer(client), _) => client.unanswered(),
        }
    }

    /// Drops everything it has.
    pub fn give_up(&mut self) {
        self.owned.clear();
        self.settle();
    }

    /// Whoever has nothing has nothing that is void.
    fn settle(&mut self) {
        if self.owned.is_empty() {
            self.void = false;
        }
    }

    /// Is in the group as far as it knows, with nothing left to be done.
    pub fn is_settled(&self) -> bool {
        match &self.protocol {
            Protocol::Classic(client) => client.is_stable(),
            Protocol::Consumer(client) => client.is_settled(),
        }
    }

    /// The process dies. Another one may come in its place.
    pub fn die(&mut self) {
        self.alive = false;
        self.life += 1;
        self.slots = [None; SLOTS];
        self.id = Text::new();
        self.epoch = 0;
        self.given_at = 0;
        self.give_up();
        self.protocol.restart();
    }
}

impl Protocol {
    fn restart(&mut self) {
        match self {
            Self::Classic(client) => *client = classic::Client::new(client.settings()),
            Self::Consumer(client) => *client = consumer::Client::new(client.settings()),
        }
    }
}

/// Errors that say nothing of the member: it asks again.
pub fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotLeaderOrFollower
    )
}

pub fn error(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("an error code of the protocol")
}
