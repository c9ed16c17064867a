//! What an event would do, collected until nothing on its way can refuse any more.

use dohle_wire::Text;

use super::{Timer, TimerKind, Work, replay};
use crate::frame::Moment;
use crate::groups::migration::Downgrade;
use crate::groups::{Effects, Group, GroupCoordinator, GroupRecord, classic};

pub struct Draft {
    /// What the log takes at once.
    pub max_batch_bytes: usize,
    pub records: Vec<GroupRecord>,
    /// Timers with the milliseconds until they run out; none to cancel.
    timers: Vec<(Timer, Option<i64>)>,
    work: Option<Work>,
    /// This classic group speaks another protocol from now on.
    dissolved: Option<Text>,
    downgrade: Option<Downgrade>,
    /// The topics of this group were looked at for this epoch.
    pub checked: Option<(Text, i32)>,
    /// It begins an epoch of the group, which counts as a rebalance.
    pub rebalances: bool,
}

impl Draft {
    pub fn new(effects: &Effects) -> Self {
        Self {
            max_batch_bytes: effects.max_batch_bytes(),
            records: Vec::new(),
            timers: Vec::new(),
            work: None,
            dissolved: None,
            downgrade: None,
            checked: None,
            rebalances: false,
        }
    }

    pub fn set_timer(&mut self, timer: Timer, after_ms: i32) {
        self.timers.push((timer, Some(i64::from(after_ms))));
    }

    pub fn cancel_timer(&mut self, timer: Timer) {
        self.timers.push((timer, None));
    }

    /// A classic group ends; whoever waits in it is told to come again.
    pub fn dissolve(&mut self, group_id: Text) {
        self.dissolved = Some(group_id);
    }

    /// A consumer group ends and a classic one takes its place.
    pub fn downgrade(&mut self, downgrade: Downgrade) {
        self.downgrade = Some(downgrade);
    }

    pub fn start(&mut self, work: Work) {
        debug_assert!(self.work.is_none(), "an event starts one piece of work");
        self.work = Some(work);
    }

    /// Makes it so.
    pub fn settle(self, coordinator: &mut GroupCoordinator, moment: Moment, effects: &mut Effects) {
        if let Some(group_id) = self.dissolved {
            classic::dissolve(coordinator, &group_id, moment, effects);
        }
        effects.records(self.records);
        coordinator.tally.consumer_rebalances += u64::from(self.rebalances);
        for (timer, after_ms) in self.timers {
            remember_join_timer(coordinator, &timer, after_ms.is_some());
            let timer = timer.into();
            match after_ms {
                Some(after_ms) => effects.set_timer(timer, moment.after(after_ms)),
                None => effects.cancel_timer(timer),
            }
        }
        if let Some(work) = self.work {
            coordinator.background.begin(moment, &work);
            effects.start(work);
        }
        if let Some((group_id, epoch)) = self.checked
            && let Some(Group::Consumer(group)) = coordinator.groups.get_mut(&group_id)
        {
            group.passing.checked_at = Some(epoch);
        }
        if let Some(Downgrade { group_id, group, rebalance }) = self.downgrade {
            replay::forget(coordinator, &group_id);
            classic::downgrade(coordinator, &group_id, group, rebalance, moment, effects);
        }
    }
}

/// Who was told to join is not told a later time.
fn remember_join_timer(coordinator: &mut GroupCoordinator, timer: &Timer, runs: bool) {
    if timer.kind != TimerKind::Join {
        return;
    }
    if let Some(Group::Consumer(group)) = coordinator.groups.get_mut(&timer.group) {
        let told = &mut group.passing.told_to_join;
        if runs {
            told.insert(timer.member.clone())
        } else {
            told.remove(&timer.member)
        };
    }
}
