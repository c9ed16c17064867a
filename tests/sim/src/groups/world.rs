//! The world of groups: one coordinator, its clients, the network between them, and what goes wrong.

mod trouble;

use dohle_coordinator::frame::{Job, Record, ReplyTo};
use dohle_coordinator::groups::{Ask, GroupRecord, Request};
use dohle_types::ErrorCode;

use super::catalog::Catalog;
use super::checker::Checker;
use super::front;
use super::ledger::Ledger;
use super::member::{Answer, Hands, Member};
use super::plan::{Faults, Plan};
use super::process::{Process, Replies, Work};
use crate::campaign::Report;
use crate::kernel::Kernel;

/// How often members look at the clock, give or take.
const ACT_MS: u64 = 200;
/// How often something may befall somebody.
const ROUND_MS: u64 = 100;
/// After that long without faults everything has settled.
const HEALING_MS: u64 = 90_000;
/// How often, in a thousand events, a coordinator is held against the replay of its log.
const REPLAYS: u64 = 4;

pub enum Happening {
    /// A request reaches the coordinator. A first copy of two is not answered to.
    Arrive {
        member: usize,
        life: u32,
        to: ReplyTo,
        request: Request,
        is_copy: bool,
    },
    /// An answer reaches a member.
    Answer {
        member: usize,
        life: u32,
        to: ReplyTo,
        answer: Answer,
    },
    Act {
        member: usize,
    },
    Begin {
        member: usize,
    },
    /// What has been decided is appended.
    Append {
        life: u32,
    },
    /// The oldest batch is stored.
    Flush {
        life: u32,
    },
    Due {
        life: u32,
    },
    Done {
        life: u32,
        work: Work,
    },
    Start {
        life: u32,
    },
    Loaded {
        life: u32,
    },
    Round,
}

pub struct World {
    kernel: Kernel<Happening>,
    faults: Faults,
    catalog: Catalog,
    process: Process,
    members: Vec<Member>,
    ledger: Ledger,
    checker: Checker,
    next_reply: u64,
    /// Who waits for which answer.
    owed: std::collections::BTreeMap<ReplyTo, Owed>,
    /// The time for which the coordinator's next look at the clock is planned.
    due_at_ms: Option<u64>,
    append_planned: bool,
}

struct Owed {
    member: usize,
    life: u32,
    /// The number under which the member waits; none for a copy that is not answered to.
    as_number: Option<ReplyTo>,
}

impl World {
    pub fn new(seed: u64, tells: bool, plan: impl FnOnce(&mut crate::kernel::Chance) -> Plan) -> Self {
        let mut kernel = Kernel::new(seed, tells);
        let Plan { settings, faults, catalog, members } = plan(&mut kernel.chance);
        kernel.tell(|| format!("{settings:?} {faults:?} {catalog:?} {members:#?}"));
        for member in 0..members.len() {
            let begins = kernel.chance.below(6_000);
            kernel.after(begins, Happening::Begin { member });
        }
        kernel.after(0, Happening::Start { life: 0 });
        kernel.after(ROUND_MS, Happening::Round);
        Self {
            kernel,
            faults,
            catalog,
            process: Process::new(settings),
            members,
            ledger: Ledger::default(),
            checker: Checker::default(),
            next_reply: 0,
            owed: std::collections::BTreeMap::new(),
            due_at_ms: None,
            append_planned: false,
        }
    }

    pub fn run(&mut self, ms: u64) {
        let until = self.kernel.now_ms() + ms;
        while let Some(happening) = self.kernel.next(until) {
            self.happen(happening);
            self.settle();
            if self.kernel.chance.happens(REPLAYS) {
                self.check_replay();
            }
        }
    }

    /// Nothing goes wrong any more, and whoever is dead comes back.
    pub fn heal(&mut self) {
        self.faults = Faults::default();
        for place in 0..self.members.len() {
            let member = &mut self.members[place];
            member.up.cut(0);
            member.down.cut(0);
            member.paused_until_ms = 0;
            if !member.alive {
                self.kernel.after(0, Happening::Begin { member: place });
            }
        }
        self.run(HEALING_MS);
    }

    /// What must be in the end.
    pub fn check_end(&mut self) {
        for place in 0..self.catalog.len() {
            for partition in 0..self.catalog.partitions(place) {
                self.check_owned(place, partition);
            }
        }
        self.check_only_living_owned();
        let unsettled = self.members.iter().find(|member| member.alive && !member.is_settled());
        assert!(unsettled.is_none(), "AllOwned: in the end everyone is a member: {unsettled:?}");
        self.check_replay();
        self.check_compaction();
    }

    fn check_owned(&self, topic: usize, partition: i32) {
        let spot = (self.catalog.id(topic), partition);
        let subscribers = self.members.iter().filter(|member| member.alive && member.topics.contains(&topic));
        let groups: std::collections::BTreeSet<_> = subscribers.map(|member| &member.group).collect();
        for group in groups {
            let owners = self.members.iter().filter(|member| member.group == *group && !member.void);
            let owners: Vec<_> =
                owners.filter(|member| member.owned.contains(&spot)).map(|member| &member.id).collect();
            assert_eq!(owners.len(), 1, "AllOwned: {spot:?} of {group} is owned by {owners:?}");
        }
    }

    /// Whoever had partitions of a deleted topic has given them up.
    fn check_only_living_owned(&self) {
        for member in &self.members {
            let dead = member.owned.iter().find(|spot| self.catalog.living(spot.0).is_none());
            assert!(
                dead.is_none(),
                "AllOwned: {} of {} owns {dead:?}, which is gone",
                member.id,
                member.group
            );
        }
    }

    pub fn report(self) -> Report {
        let (trace, events) = (self.kernel.trace(), self.kernel.events());
        Report { trace, events, marks: self.kernel.marks }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { member, life, to, request, is_copy } => {
                self.arrive(member, life, to, request, is_copy);
            }
            Happening::Answer { member, life, to, answer } => self.answer(member, life, to, answer),
            Happening::Act { member } => self.act(member),
            Happening::Begin { member } => {
                if !self.members[member].alive {
                    self.members[member].alive = true;
                    self.kernel.after(0, Happening::Act { member });
                }
            }
            Happening::Append { life } if life == self.process.life => {
                self.append_planned = false;
                self.append();
            }
            Happening::Flush { life } if life == self.process.life => self.flush(),
            Happening::Due { life } if life == self.process.life => {
                self.due_at_ms = None;
                let moment = self.moment();
                self.process.advance(moment);
            }
            Happening::Done { life, work } if life == self.process.life => {
                let event = work.run();
                let moment = self.moment();
                self.process.notice(moment, event);
            }
            Happening::Done { .. } => self.kernel.marks.hit("work of a dead coordinator is done"),
            Happening::Start { life } if life == self.process.life && !self.process.is_serving() => {
                self.process.is_loading = true;
                let takes = self.kernel.chance.below(400);
                self.kernel.after(takes, Happening::Loaded { life });
            }
            Happening::Loaded { life } if life == self.process.life && !self.process.is_serving() => {
                let moment = self.moment();
                self.process.load(moment, &self.catalog);
                self.kernel.tell(|| "the coordinator serves".to_owned());
            }
            Happening::Append { .. }
            | Happening::Flush { .. }
            | Happening::Due { .. }
            | Happening::Start { .. }
            | Happening::Loaded { .. } => {}
            Happening::Round => {
                self.round();
                self.kernel.after(ROUND_MS, Happening::Round);
            }
        }
    }

    fn moment(&mut self) -> dohle_coordinator::frame::Moment {
        self.process.moment(self.kernel.now_ms(), self.kernel.chance.number())
    }

    // The coordinator.

    fn arrive(&mut self, member: usize, life: u32, to: ReplyTo, mut request: Request, is_copy: bool) {
        self.next_reply += 1;
        let number = ReplyTo(self.next_reply);
        let as_number = (!is_copy).then_some(to);
        self.kernel.marks.sometimes("a request is doubled", is_copy);
        self.owed.insert(number, Owed { member, life, as_number });
        if !self.process.is_serving() {
            self.kernel.marks.sometimes("a coordinator that loads is asked", self.process.is_loading);
            let loading = ErrorCode::CoordinatorLoadInProgress;
            let code = if self.process.is_loading { loading } else { ErrorCode::NotCoordinator };
            self.deliver(number, Err(code));
            return;
        }
        if let Some(answer) = front::resolve(&self.catalog, &mut request) {
            self.kernel.marks.hit("a member asks of a topic that is gone");
            return self.deliver(number, Ok(answer));
        }
        self.kernel.tell(|| format!("m{member} asks as {number:?}: {:?}", request.ask));
        self.checker.asked(number, &request);
        let moment = self.moment();
        self.process.handle(moment, number, request);
    }

    /// Sees to what the coordinator wants after an event.
    fn settle(&mut self) {
        let ready = self.process.ready();
        self.release(ready);
        let life = self.process.life;
        for work in self.process.jobs() {
            let takes = self.kernel.chance.below(300);
            self.kernel.after(takes, Happening::Done { life, work });
        }
        if self.process.is_serving() && !self.append_planned {
            self.append_planned = true;
            let lingers = if self.kernel.chance.happens(500) { 0 } else { self.kernel.chance.below(8) };
            if lingers == 0 {
                self.append_planned = false;
                self.append();
            } else {
                self.kernel.after(lingers, Happening::Append { life });
            }
        }
        let due = self.process.next_due_ms();
        if due.is_some_and(|due| self.due_at_ms.is_none_or(|planned| due < planned)) {
            self.due_at_ms = due;
            self.kernel.at(due.unwrap_or_default(), Happening::Due { life });
        }
    }

    fn append(&mut self) {
        let split = self.kernel.chance.happens(300);
        let Some((entries, batches)) = self.process.append(split) else { return };
        self.kernel.marks.sometimes("what was decided together is stored in parts", batches > 1);
        self.kernel.note(&entries);
        entries.iter().for_each(|entry| self.kernel.tell(|| format!("  appended: {}", told(entry))));
        self.checker.appended(&entries, &self.ledger, &mut self.kernel.marks);
        let life = self.process.life;
        let takes = self.kernel.chance.between(1, 12);
        (0..batches).for_each(|_| self.kernel.after(takes, Happening::Flush { life }));
        if self.kernel.chance.happens(self.faults.kill_at_append) {
            self.kill();
        } else if self.kernel.chance.happens(self.faults.fail_append) {
            self.fail_append();
        }
    }

    fn flush(&mut self) {
        let Some((entries, replies)) = self.process.log.flush() else { return };
        self.stored(&entries);
        self.release(replies);
    }

    fn stored(&mut self, entries: &[crate::log::Entry]) {
        self.checker.stored(entries, &mut self.kernel.marks);
        if !entries.is_empty() {
            self.checker.expel(&mut self.members, &mut self.kernel.marks);
        }
    }

    fn release(&mut self, replies: Replies) {
        for (to, answer) in replies {
            self.kernel.tell(|| format!("  answered: {to:?} {answer:?}"));
            self.checker.answered(to, &answer, &mut self.kernel.marks);
            self.deliver(to, answer);
        }
    }

    /// The process dies. Of what is under way some may be stored, and nobody is told.
    fn kill(&mut self) {
        let pending = self.process.log.pending() as u64;
        let kept = self.kernel.chance.below(pending + 1);
        for _ in 0..kept {
            let (entries, _) = self.process.log.flush().expect("as many are under way");
            self.stored(&entries);
        }
        self.kernel.tell(|| format!("the coordinator is killed; {kept} of {pending} batches are kept"));
        self.kernel.marks.hit("the coordinator is killed");
        self.kernel.marks.sometimes("a kill loses what was appended", kept < pending);
        self.kernel.marks.sometimes("a kill keeps what nobody was told", kept > 0);
        self.drop_shard();
        for to in self.checker.forget_all() {
            self.owed.remove(&to);
        }
        let life = self.process.life;
        let back = self.kernel.chance.between(10, 3_000);
        self.kernel.after(back, Happening::Start { life });
    }

    /// The log refuses an append: the shard is dropped and loaded again, and whoever waits is told to try again.
    fn fail_append(&mut self) {
        self.kernel.marks.hit("an append fails");
        self.drop_shard();
        for to in self.checker.forget_all() {
            self.deliver(to, Err(ErrorCode::NotCoordinator));
        }
        let life = self.process.life;
        self.kernel.after(0, Happening::Start { life });
    }

    fn drop_shard(&mut self) {
        let unreleased = self.process.drop_shard();
        self.kernel.note(&unreleased.len());
        self.checker.reverted();
        self.due_at_ms = None;
        self.append_planned = false;
    }

    // The members.

    fn act(&mut self, place: usize) {
        let member = &self.members[place];
        if !member.alive {
            return;
        }
        let now = self.kernel.now_ms();
        if member.paused_until_ms > now {
            self.kernel.at(member.paused_until_ms, Happening::Act { member: place });
            return;
        }
        self.with_hands(place, |member, hands| member.act(hands));
        let next = ACT_MS / 2 + self.kernel.chance.below(ACT_MS);
        self.kernel.after(next, Happening::Act { member: place });
    }

    fn answer(&mut self, place: usize, life: u32, to: ReplyTo, answer: Answer) {
        let member = &self.members[place];
        if member.life != life || !member.alive {
            return;
        }
        if member.paused_until_ms > self.kernel.now_ms() {
            self.kernel.at(member.paused_until_ms, Happening::Answer { member: place, life, to, answer });
            return;
        }
        self.kernel.tell(|| format!("m{place} hears {to:?}: {answer:?}"));
        self.with_hands(place, |member, hands| member.answered(to, answer, hands));
        self.checker.expel(&mut self.members, &mut self.kernel.marks);
        self.checker.owners(&self.members);
    }

    /// Lets a member do something, and sends what it wants sent.
    fn with_hands(&mut self, place: usize, work: impl FnOnce(&mut Member, &mut Hands<'_>)) {
        let mut hands = Hands {
            now_ms: self.kernel.now_ms(),
            chance: &mut self.kernel.chance,
            marks: &mut self.kernel.marks,
            catalog: &self.catalog,
            ledger: &mut self.ledger,
            next_reply: &mut self.next_reply,
            sent: Vec::new(),
        };
        work(&mut self.members[place], &mut hands);
        for (to, request) in hands.sent {
            self.send(place, to, request);
        }
    }

    fn send(&mut self, place: usize, to: ReplyTo, request: Request) {
        let (now, weather) = (self.kernel.now_ms(), self.faults.weather);
        let life = self.members[place].life;
        let doubled = self.kernel.chance.happens(weather.duplication) && is_repeated_as_it_is(&request);
        let line = &mut self.members[place].up;
        if doubled && let Some(at) = line.send(now, &weather, &mut self.kernel.chance) {
            let request = request.clone();
            self.kernel.at(at, Happening::Arrive { member: place, life, to, request, is_copy: true });
        }
        if let Some(at) = line.send(now, &weather, &mut self.kernel.chance) {
            self.kernel.at(at, Happening::Arrive { member: place, life, to, request, is_copy: false });
        }
    }

    fn deliver(&mut self, number: ReplyTo, answer: Answer) {
        let Some(Owed { member: place, life, as_number }) = self.owed.remove(&number) else { return };
        let Some(to) = as_number else { return };
        let (now, weather) = (self.kernel.now_ms(), self.faults.weather);
        match self.members[place].down.send(now, &weather, &mut self.kernel.chance) {
            Some(at) => self.kernel.at(at, Happening::Answer { member: place, life, to, answer }),
            None => self.kernel.marks.hit("an answer is lost"),
        }
    }

    // What must always be.

    /// `ReplayIsState`.
    fn check_replay(&mut self) {
        self.append();
        let Some(coordinator) = self.process.coordinator() else { return };
        let entries = self.process.log.stored().iter().chain(self.process.log.pending_entries());
        let replayed = self.process.replayed(entries, &self.catalog);
        if let Err(difference) = coordinator.remembers_like(replayed.coordinator()) {
            panic!("ReplayIsState: {difference}");
        }
        self.kernel.marks.hit("a coordinator is held against the replay of its log");
    }

    /// `CompactionIsReplay`, with tombstones kept from anywhere.
    fn check_compaction(&mut self) {
        let all = self.process.replayed(self.process.log.stored(), &self.catalog);
        let end = self.process.log.stored().last().map_or(0, |last| last.offset + 1);
        for _ in 0..3 {
            let from = self.kernel.chance.below(end as u64 + 1) as i64;
            let compacted = self.process.log.compacted(from);
            self.kernel.marks.sometimes("compaction drops tombstones", from > 0);
            let replayed = self.process.replayed(&compacted, &self.catalog);
            if let Err(difference) = all.coordinator().remembers_like(replayed.coordinator()) {
                panic!("CompactionIsReplay: {difference}");
            }
        }
    }
}

/// Whether a client that got no answer sends the same again. After a heartbeat that told only what had changed it tells everything.
fn is_repeated_as_it_is(request: &Request) -> bool {
    match &request.ask {
        Ask::ConsumerGroupHeartbeat(heartbeat) => heartbeat.rebalance_timeout_ms != -1,
        _ => true,
    }
}

/// A record as it reads.
fn told(entry: &crate::log::Entry) -> String {
    format!("{:?}", GroupRecord::decode(entry.key.clone(), entry.value.clone()))
}
