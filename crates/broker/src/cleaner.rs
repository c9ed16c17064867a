//! The cleaner: compacts the logs of this broker, the dirtiest first, `log.cleaner.threads` of them at a time.
//!
//! A partition is noted here when it was opened, when its settings changed and when its log closed a segment. Then, after
//! `log.cleaner.backoff.ms`, a worker asks the core of each noted partition how dirty its log is, compacts the dirtiest that is due, and
//! so on until none is. What is left waits for its next segment, or for an alarm where only time has to pass. So nothing here wakes
//! while nothing happens.
//!
//! A worker is a task of the core that noted a partition. It reads and writes on threads that may wait, and goes to the owning core
//! only to exchange segments: nothing of a compaction is on anybody's way. Its memory is one [`KeyMap`] a worker, at most
//! `log.cleaner.dedupe.buffer.size` for all together, taken as keys come and given back with each log.
//!
//! A log that cannot be judged (a damaged batch) is not tried again before a restart; this is said once, and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dohle_config::Config;
use dohle_env::{Clock, Tick, task, thread};
use dohle_log::{
    CancelSign, CleanedGroup, Compaction, CompactionCounts, CompactionError, Dirtiness, Examination, KeyMap,
    Log, Pace,
};
use dohle_types::{LeaderEpoch, Offset, TimestampMs, TopicPartition};
use dohle_wire::Text;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::core::{Core, Shared};
use crate::partition::Partition;
use crate::settings;

/// Between two looks whether readers are done with segments that were replaced.
const READER_STEP: Duration = Duration::from_millis(20);
/// The longest rest of a throttled worker before it looks whether its work is still wanted.
const LONGEST_REST: Duration = Duration::from_millis(50);
/// Debts of a throttled worker below this are carried on.
const SHORTEST_REST: Duration = Duration::from_millis(2);

/// What all workers share.
#[derive(Default)]
pub struct Cleaner {
    state: Mutex<State>,
    throttle: Throttle,
}

/// A partition, and the core that owns it.
type Noted = BTreeMap<TopicPartition, usize>;

#[derive(Default)]
struct State {
    /// To be looked at.
    noted: Noted,
    /// To be looked at when the alarm goes.
    waiting: Noted,
    alarm: Option<TimestampMs>,
    under_way: BTreeSet<TopicPartition>,
    uncleanable: BTreeSet<TopicPartition>,
    workers: usize,
    max_dirty_ratio: f64,
    compactions: u64,
    stopped: bool,
}

/// What the cleaner counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CleanerNumbers {
    pub uncleanable: usize,
    /// Of the dirtiest log, when last looked.
    pub max_dirty_ratio: f64,
    pub compactions: u64,
}

impl Cleaner {
    pub fn numbers(&self) -> CleanerNumbers {
        let state = self.state();
        CleanerNumbers {
            uncleanable: state.uncleanable.len(),
            max_dirty_ratio: state.max_dirty_ratio,
            compactions: state.compactions,
        }
    }

    /// Starts nothing more.
    pub fn stop(&self) {
        self.state().stopped = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while the state is locked")
    }
}

/// Says that a partition's log may be due.
pub fn note(core: &Rc<Core>, partition: &Partition) {
    if partition.with_log(|log| log.settings().cleanup_compact) != Some(true) {
        return;
    }
    let config = current(core.shared());
    let mut state = core.shared().cleaner.state();
    if config.boolean("log.cleaner.enable") && !state.uncleanable.contains(&partition.id) {
        state.noted.insert(partition.id, core.index);
        let backoff = u64::try_from(config.long("log.cleaner.backoff.ms")).unwrap_or(0);
        start_worker(core, state, &config, Duration::from_millis(backoff));
    }
}

/// The configuration as it is now.
fn current(shared: &Shared) -> Config {
    let image = shared.controller.image();
    shared.config.with_dynamic(&settings::dynamic(&image, shared.node)).0
}

fn threads(config: &Config) -> usize {
    usize::try_from(config.int("log.cleaner.threads")).unwrap_or(1).max(1)
}

/// Starts a worker, if there is something to look at and a thread left for it.
fn start_worker(core: &Rc<Core>, mut state: MutexGuard<'_, State>, config: &Config, delay: Duration) {
    if state.stopped || state.noted.is_empty() || state.workers >= threads(config) {
        return;
    }
    state.workers += 1;
    drop(state);
    let core = core.clone();
    task::spawn(async move {
        task::sleep(delay).await;
        while let Some(job) = pick(&core).await {
            clean(&core, &job).await;
        }
        let config = current(core.shared());
        let mut state = core.shared().cleaner.state();
        state.workers -= 1;
        if let Some(alarm) = state.alarm.take() {
            let core = core.clone();
            task::spawn(async move { wake_at(&core, alarm).await });
        }
        // One may have been noted since this worker looked for the last time.
        start_worker(&core, state, &config, delay);
    });
}

/// Has those looked at again that waited for nothing but time.
async fn wake_at(core: &Rc<Core>, alarm: TimestampMs) {
    let wait = alarm.get().saturating_sub(core.env().clock.now().get());
    task::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
    let config = current(core.shared());
    let mut state = core.shared().cleaner.state();
    let waiting = std::mem::take(&mut state.waiting);
    state.noted.extend(waiting);
    start_worker(core, state, &config, Duration::ZERO);
}

/// A log that is due.
struct Job {
    id: TopicPartition,
    owner: usize,
    name: Text,
    found: Dirtiness,
}

/// Chooses the dirtiest of the logs that are due, and keeps it from other workers.
async fn pick(core: &Rc<Core>) -> Option<Job> {
    let cleaner = &core.shared().cleaner;
    let noted = std::mem::take(&mut cleaner.state().noted);
    let (mut due, mut dirtiest) = (Vec::new(), 0.0);
    for (id, owner) in noted {
        // Who compacts it notes it again.
        if cleaner.state().under_way.contains(&id) {
            continue;
        }
        let Some(job) = look_at(core, id, owner).await else { continue };
        dirtiest = job.found.ratio().max(dirtiest);
        if job.found.is_due() {
            due.push(job);
        } else if let Some(next) = job.found.next {
            let mut state = cleaner.state();
            state.waiting.insert(id, owner);
            state.alarm = Some(state.alarm.map_or(next, |alarm| alarm.min(next)));
        }
    }
    let config = current(core.shared());
    let mut state = cleaner.state();
    state.max_dirty_ratio = dirtiest;
    due.retain(|job| !state.under_way.contains(&job.id));
    let best = (0..due.len()).max_by(|a, b| due[*a].found.ratio().total_cmp(&due[*b].found.ratio()))?;
    let best = due.swap_remove(best);
    if state.stopped {
        return None;
    }
    state.under_way.insert(best.id);
    state.noted.extend(due.iter().map(|job| (job.id, job.owner)));
    // There may be others for what is left.
    start_worker(core, state, &config, Duration::ZERO);
    Some(best)
}

/// How dirty a log is. `None` for one that is not compacted here, or any more.
async fn look_at(core: &Rc<Core>, id: TopicPartition, owner: usize) -> Option<Job> {
    let asked = ask(core, owner, id, |core, partition| {
        // It is noted again when it has moved.
        if partition.moving.get() {
            return None;
        }
        let compacted = core.shared().log_dirs.compacted(&partition.name, partition.id.partition);
        let asked = partition.ask(LeaderEpoch::NONE, |log, marks, _| {
            let wanted = log.settings().cleanup_compact && log.failure().is_none();
            wanted.then(|| log.examine(compacted, marks.high_watermark))
        });
        Some((partition.name.clone(), asked.ok()??))
    });
    let (name, examination): (Text, Examination) = asked.await??;
    let now = core.env().clock.now();
    match task::blocking(move || examination.run(now)).await {
        Ok(found) => {
            if found.reset {
                store(core, id, &name, found.first_dirty).await;
            }
            Some(Job { id, owner, name, found })
        }
        Err(problem) => {
            warn!(partition = %id, topic = %name, %problem, "a log cannot be looked at for its compaction");
            None
        }
    }
}

async fn clean(core: &Rc<Core>, job: &Job) {
    let result = compact(core, job).await;
    let mut state = core.shared().cleaner.state();
    state.under_way.remove(&job.id);
    let (topic, partition) = (&job.name, job.id.partition);
    match result {
        Ok(()) => {
            state.compactions += 1;
            // There may be more: the map may have been full, or the log have grown.
            state.noted.insert(job.id, job.owner);
        }
        Err(CompactionError::Cancelled) => {}
        Err(CompactionError::Damaged(what)) => {
            state.uncleanable.insert(job.id);
            drop(state);
            error!(%topic, %partition, what, "a log cannot be compacted; it is left as it is until the next start");
        }
        Err(CompactionError::Storage(problem)) => {
            drop(state);
            warn!(%topic, %partition, %problem, "a compaction has failed; it is tried again when the log has grown");
        }
    }
}

async fn compact(core: &Rc<Core>, job: &Job) -> Result<(), CompactionError> {
    let (found, now, began) = (job.found, core.env().clock.now(), core.env().clock.tick());
    let started = ask(core, job.owner, job.id, move |_, partition| {
        if partition.moving.get() {
            return None;
        }
        let start = |log: &mut Log| log.start_compaction(found.first_dirty, found.first_uncleanable, now);
        Some((partition.with_log(start).flatten()?, partition.mark()?))
    });
    let (compaction, mark) = started.await.flatten().ok_or(CompactionError::Cancelled)?;
    // What is compacted is never replayed by a recovery.
    let dirs = core.shared().log_dirs.clone();
    task::blocking(move || dirs.checkpoint(&[mark])).await?;
    let work = Work::new(core.shared(), compaction);
    let (mut work, end) = work.run(|compaction, map, pace| compaction.map(map, pace)).await;
    let end = end?;
    loop {
        let (done, group) = work.run(|compaction, map, pace| compaction.next_group(map, pace)).await;
        work = done;
        let Some(group) = group? else { break };
        exchange(core, job, group, &work.compaction.sign()).await?;
    }
    tell(job, work.compaction.counts(), end, core.env().clock.tick().since(began));
    drop(work);
    store(core, job.id, &job.name, end).await;
    Ok(())
}

/// A compaction with what it needs, as it goes from thread to thread.
struct Work {
    compaction: Compaction,
    map: KeyMap,
    /// `log.cleaner.io.max.bytes.per.second`
    rate: f64,
    shared: Arc<Shared>,
}

impl Work {
    fn new(shared: &Arc<Shared>, compaction: Compaction) -> Self {
        let config = current(shared);
        let memory = usize::try_from(config.long("log.cleaner.dedupe.buffer.size")).unwrap_or(0);
        let load_factor = config.double("log.cleaner.io.buffer.load.factor");
        let map = KeyMap::new(memory / threads(&config), load_factor, &shared.env.rng);
        let rate = config.double("log.cleaner.io.max.bytes.per.second");
        Self { compaction, map, rate, shared: shared.clone() }
    }

    /// Does a step of it on a thread that may wait.
    async fn run<T: Send + 'static>(
        mut self,
        step: impl FnOnce(&mut Compaction, &mut KeyMap, Pace<'_>) -> T + Send + 'static,
    ) -> (Self, T) {
        task::blocking(move || {
            let (shared, rate, sign) = (self.shared.clone(), self.rate, self.compaction.sign());
            let mut pace = |bytes| {
                let mut debt = shared.cleaner.throttle.take(bytes, rate, &shared.env.clock);
                while debt > SHORTEST_REST && !sign.is_cancelled() {
                    let rest = debt.min(LONGEST_REST);
                    thread::sleep(rest);
                    debt -= rest;
                }
            };
            let done = step(&mut self.compaction, &mut self.map, &mut pace);
            (self, done)
        })
        .await
    }
}

/// Spreads the bytes of all workers over time.
#[derive(Default)]
struct Throttle(Mutex<Tick>);

impl Throttle {
    /// How long whoever reads or writes so many bytes has to rest.
    fn take(&self, bytes: u64, bytes_per_second: f64, clock: &Clock) -> Duration {
        let cost = Duration::try_from_secs_f64(bytes as f64 / bytes_per_second).unwrap_or(LONGEST_REST);
        let now = clock.tick();
        let mut paid_until = self.0.lock().expect("nothing panics while the throttle is locked");
        *paid_until = (*paid_until).max(now).plus(cost);
        paid_until.since(now)
    }
}

/// Lets the owner read from the new segment, and gives it its name when nobody reads the old ones any more.
async fn exchange(
    core: &Rc<Core>,
    job: &Job,
    group: CleanedGroup,
    sign: &CancelSign,
) -> Result<(), CompactionError> {
    let swapped_in = ask(core, job.owner, job.id, move |_, partition| {
        let mut group = Some(group);
        match partition.with_log(|log| log.swap_in(group.take().expect("it is taken once"))) {
            Some(Ok(())) => None,
            Some(Err(refused)) => Some(*refused),
            None => group,
        }
    });
    if let Some(refused) = swapped_in.await.ok_or(CompactionError::Cancelled)? {
        task::blocking(move || refused.discard()).await?;
        return Err(CompactionError::Cancelled);
    }
    let swap = loop {
        let asked = ask(core, job.owner, job.id, |_, partition| partition.with_log(Log::start_swap));
        if let Some(swap) = asked.await.flatten().ok_or(CompactionError::Cancelled)? {
            break swap;
        }
        if sign.is_cancelled() {
            return Err(CompactionError::Cancelled);
        }
        task::sleep(READER_STEP).await;
    };
    let swapped = task::blocking(move || swap.run()).await;
    let now = core.env().clock.now();
    let finished = ask(core, job.owner, job.id, move |_, partition| {
        // One that was opened since, because its directory was lost and is back, replaces nothing.
        partition.with_log(|log| log.is_swapping().then(|| log.finish_swap(swapped, now))).flatten()
    });
    finished.await.flatten().ok_or(CompactionError::Cancelled)??;
    Ok(())
}

/// Has a partition's owner do something with it. `None` when it is not open there any more.
async fn ask<R: Send + 'static>(
    core: &Rc<Core>,
    owner: usize,
    id: TopicPartition,
    question: impl FnOnce(&Rc<Core>, &Rc<Partition>) -> R + Send + 'static,
) -> Option<R> {
    let (sender, answer) = oneshot::channel();
    core.shared().mailboxes.tell(owner, move |core| {
        if let Some(partition) = core.opened_partition(id) {
            _ = sender.send(question(core, &partition));
        }
    });
    answer.await.ok()
}

async fn store(core: &Rc<Core>, id: TopicPartition, name: &Text, up_to: Offset) {
    let (dirs, topic) = (core.shared().log_dirs.clone(), name.clone());
    if let Err(problem) = task::blocking(move || dirs.note_compacted(&topic, id, up_to)).await {
        // The next compaction does more than it had to.
        warn!(partition = %id.partition, topic = %name, %problem, "how far a log is compacted could not be stored");
    }
}

fn tell(job: &Job, counts: &CompactionCounts, end: Offset, took: Duration) {
    info!(
        topic = %job.name,
        partition = %job.id.partition,
        from = %job.found.first_dirty,
        to = %end,
        bytes_before = counts.bytes_before,
        bytes_after = counts.bytes_after,
        records_before = counts.records.read,
        records_after = counts.records.kept,
        without_key = counts.records.without_key,
        map_percent = (counts.map_utilization * 100.0) as u64,
        ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "a log was compacted"
    );
}
