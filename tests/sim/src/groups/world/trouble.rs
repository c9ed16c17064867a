//! What befalls members, clocks and topics, every tenth of a second.

use std::sync::Arc;

use dohle_coordinator::groups::Event;
use dohle_coordinator::topics::Changes;

use super::{Happening, World};
use crate::groups::member::Protocol;
use crate::groups::{classic, consumer};

impl World {
    pub(super) fn round(&mut self) {
        let faults = self.faults;
        if self.process.is_serving() && self.kernel.chance.happens(faults.kill) {
            self.kill();
        }
        if self.kernel.chance.happens(faults.clock_jump) {
            self.jump();
        }
        if self.kernel.chance.happens(faults.topic_growth) {
            self.grow();
        }
        if self.kernel.chance.happens(faults.topic_deletion) {
            self.delete_or_create();
        }
        for place in 0..self.members.len() {
            if self.members[place].alive {
                self.befall(place);
            }
        }
    }

    fn befall(&mut self, place: usize) {
        let (faults, now) = (self.faults, self.kernel.now_ms());
        let chance = &mut self.kernel.chance;
        let member = &mut self.members[place];
        if chance.happens(faults.member_kill) {
            self.kernel.marks.sometimes("a member dies and owns partitions", !member.owned.is_empty());
            member.die();
            let back = chance.below(12_000);
            self.kernel.tell(|| format!("m{place} dies, for {back} ms"));
            self.kernel.after(back, Happening::Begin { member: place });
        } else if chance.happens(faults.member_leave) {
            let back = chance.below(8_000);
            self.kernel.tell(|| format!("m{place} leaves, for {back} ms"));
            self.with_hands(place, |member, hands| match member.protocol {
                Protocol::Classic(_) => classic::leave(member, hands),
                Protocol::Consumer(_) => consumer::leave(member, hands),
            });
            self.members[place].die();
            self.kernel.marks.hit("a member leaves");
            self.kernel.after(back, Happening::Begin { member: place });
        } else if chance.happens(faults.member_pause) {
            let pause = chance.below(15_000);
            self.kernel.tell(|| format!("m{place} stands still for {pause} ms"));
            member.paused_until_ms = now + pause;
            self.kernel.marks.sometimes("a member stands still for long", pause > 10_000);
        } else if chance.happens(faults.cut) {
            let (up, down) = (chance.happens(700), chance.happens(700));
            let until = now + chance.below(10_000);
            if up {
                member.up.cut(until);
            }
            if down {
                member.down.cut(until);
            }
            self.kernel.marks.sometimes("a member is cut off in one direction", up != down);
        }
    }

    /// The coordinator's wall clock jumps; at times by days.
    fn jump(&mut self) {
        let reach = *self.kernel.chance.pick(&[2_000, 60_000, 3_600_000, 9 * 24 * 3_600_000]);
        let by = self.kernel.chance.below(reach) as i64;
        let back = self.kernel.chance.happens(500);
        self.process.skew_ms += if back { -by } else { by };
        self.kernel.marks.hit(if back { "the clock jumps back" } else { "the clock jumps on" });
    }

    fn grow(&mut self) {
        let topic = self.any_topic();
        if self.catalog.exists(topic) {
            self.catalog.grow(topic);
            self.kernel.marks.hit("a topic grows");
            self.notice_topics(Changes {
                changed: vec![self.catalog.name(topic).clone()],
                ..Changes::default()
            });
        }
    }

    /// A topic is deleted, or another one takes the name of one that was.
    fn delete_or_create(&mut self) {
        let topic = self.any_topic();
        let name = self.catalog.name(topic).clone();
        let mut changes = Changes::default();
        if self.catalog.exists(topic) {
            let id = self.catalog.id(topic);
            let owned = self.members.iter().any(|member| member.owned.iter().any(|spot| spot.0 == id));
            self.kernel.marks.hit("a topic is deleted");
            self.kernel.marks.sometimes("a topic is deleted that members own partitions of", owned);
            self.catalog.delete(topic);
            changes.deleted.push((name, id));
        } else {
            let partitions = self.kernel.chance.between(1, 6) as i32;
            self.catalog.create(topic, partitions);
            self.kernel.marks.hit("a topic comes again");
            changes.changed.push(name);
        }
        self.kernel.tell(|| format!("topics change: {changes:?}"));
        self.notice_topics(changes);
    }

    fn any_topic(&mut self) -> usize {
        self.kernel.chance.below(self.catalog.len() as u64) as usize
    }

    fn notice_topics(&mut self, changes: Changes) {
        let moment = self.moment();
        self.process.notice(moment, Event::Topics(self.catalog.topics(), Arc::new(changes)));
    }
}
