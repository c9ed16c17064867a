//! The numbers of the node's parts under their names. The parts count, or know; they are asked when somebody reads.

use std::collections::BTreeMap;
use std::time::Duration;

use dohle_broker::coordinator::numbers::{self as groups, GroupNumbers};
use dohle_broker::core::Shared;
use dohle_broker::metrics::{self as broker, CoreMetrics, Counters, LogNumbers};
use dohle_broker::{BrokerHandle, recovering};
use dohle_controller::ControllerHandle;
use dohle_observe::names::{self, MetricDef};
use dohle_observe::{Health, Metrics, Report, Status};
use dohle_types::ErrorCode;
use dohle_wire::ApiKey;

/// Errors of a partition that Kafka does not count as a failed produce or fetch request: clients are told them every day.
const EXPECTED: &[ErrorCode] = &[
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::UnknownTopicId,
    ErrorCode::InconsistentTopicId,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::FencedLeaderEpoch,
    ErrorCode::UnknownLeaderEpoch,
    ErrorCode::ReplicaNotAvailable,
    ErrorCode::OffsetOutOfRange,
    ErrorCode::MessageTooLarge,
    ErrorCode::RecordListTooLarge,
    ErrorCode::CorruptMessage,
    ErrorCode::KafkaStorageError,
];
/// What Kafka calls the client that its moves between log directories are.
const MOVES_CLIENT: &str = "ReplicaAlterLogDirs";
/// How Kafka numbers the states of a broker.
const STARTING: f64 = 1.0;
const RUNNING: f64 = 3.0;
const STOPPING: f64 = 7.0;

/// What is there before there is a broker.
pub fn of_node(metrics: &Metrics, health: &Health) {
    let health = health.clone();
    metrics.read_gauge(names::BROKER_STATE, &[], move || match health.status() {
        Status::Starting => STARTING,
        Status::Ready => RUNNING,
        Status::Stopping => STOPPING,
    });
}

pub fn of_broker(metrics: &Metrics, broker: &BrokerHandle) {
    let read = |metric, counter: fn(&Counters) -> u64| {
        let cores: Vec<CoreMetrics> = broker.metrics().to_vec();
        metrics.read_counter(metric, &[], move || cores.iter().map(|core| counter(core)).sum());
    };
    read(names::MESSAGES_IN, |core| core.records_in.get());
    read(names::BYTES_IN, |core| core.bytes_in.get());
    read(names::BYTES_OUT, |core| core.bytes_out.get());
    read(names::PRODUCE_REQUESTS, |core| core.produce_requests.get());
    read(names::FETCH_REQUESTS, |core| core.fetch_requests.get());
    read(names::CONNECTIONS_OPENED, |core| core.connections_opened.get());
    read(names::CONNECTIONS_CLOSED, |core| core.connections_closed.get());
    let cores: Vec<CoreMetrics> = broker.metrics().to_vec();
    metrics.source(move |report| {
        let open =
            |core: &CoreMetrics| core.connections_opened.get().saturating_sub(core.connections_closed.get());
        report.gauge(names::CONNECTIONS, &[], float(cores.iter().map(open).sum::<u64>()));
        of_apis(report, &cores);
    });
    let shared = broker.shared().clone();
    metrics.source(move |report| {
        let numbers = broker::of_replicas(&shared);
        let mut gauge = |metric, value: usize| report.gauge(metric, &[], float(value as u64));
        gauge(names::PARTITION_COUNT, numbers.held);
        gauge(names::LEADER_COUNT, numbers.led);
        gauge(names::UNDER_REPLICATED, numbers.under_replicated);
        gauge(names::UNDER_MIN_ISR, numbers.under_min_isr);
        gauge(names::OFFLINE_REPLICAS, numbers.offline);
        let directories: Vec<_> = shared.log_dirs.describe_states().collect();
        gauge(names::OFFLINE_LOG_DIRS, directories.iter().filter(|(_, offline)| *offline).count());
        for (path, offline) in directories {
            report.gauge(names::LOG_DIR_OFFLINE, &[&path.to_string_lossy()], float(u64::from(offline)));
        }
        let mut gauge = |metric, value: usize| report.gauge(metric, &[], float(value as u64));
        gauge(names::REQUEST_MEMORY, shared.budget.used());
        gauge(names::GROUPS_MEMORY, shared.kept.used());
        let cleaner = shared.cleaner.numbers();
        gauge(names::UNCLEANABLE_PARTITIONS, cleaner.uncleanable);
        gauge(names::MAX_DIRTY_PERCENT, (cleaner.max_dirty_ratio * 100.0) as usize);
        let moves = shared.moves.numbers();
        report.gauge(names::MOVES_FAILED, &[MOVES_CLIENT], float(moves.failed as u64));
        report.gauge(names::MOVES_MAX_LAG, &[MOVES_CLIENT], float(u64::try_from(moves.max_lag).unwrap_or(0)));
        report.counter(names::LOG_FLUSHES, &[], shared.flusher.flushes());
        of_recoveries(report, &shared);
    });
    let shared = broker.shared().clone();
    metrics.ask(move || {
        let shared = shared.clone();
        async move { of_logs(&broker::of_logs(&shared).await) }
    });
    let shared = broker.shared().clone();
    metrics.ask(move || {
        let shared = shared.clone();
        async move { of_groups(groups::of_groups(&shared).await) }
    });
}

/// Groups, their offsets, and the shards that coordinate them.
fn of_groups(numbers: GroupNumbers) -> Report {
    let mut report = Report::default();
    let mut gauge =
        |metric: MetricDef, labels: &[&str], value: u64| report.gauge(metric, labels, float(value));
    let GroupNumbers { census, tally, shards, .. } = &numbers;
    gauge(names::GROUPS, &[], census.classic.values().sum());
    gauge(names::GROUP_COUNT, &["classic"], census.classic.values().sum());
    gauge(names::GROUP_COUNT, &["consumer"], census.consumer.values().sum());
    for (state, count) in &census.classic {
        let of_old = match *state {
            "PreparingRebalance" => names::GROUPS_PREPARING,
            "CompletingRebalance" => names::GROUPS_COMPLETING,
            "Stable" => names::GROUPS_STABLE,
            "Dead" => names::GROUPS_DEAD,
            _ => names::GROUPS_EMPTY,
        };
        gauge(of_old, &[], *count);
    }
    census.consumer.iter().for_each(|(state, count)| gauge(names::CONSUMER_GROUP_COUNT, &[state], *count));
    gauge(names::OFFSETS, &[], census.offsets);
    gauge(names::OFFSET_COMMITS, &[], tally.offset_commits);
    gauge(names::OFFSET_EXPIRATIONS, &[], tally.offset_expirations);
    gauge(names::OFFSET_DELETIONS, &[], tally.offset_deletions);
    gauge(names::CLASSIC_REBALANCES, &[], tally.classic_rebalances);
    gauge(names::CONSUMER_REBALANCES, &[], tally.consumer_rebalances);
    gauge(names::COORDINATOR_PARTITIONS, &["loading"], shards.loading);
    gauge(names::COORDINATOR_PARTITIONS, &["active"], shards.active);
    gauge(names::COORDINATOR_PARTITIONS, &["failed"], shards.failed);
    gauge(names::COORDINATOR_QUEUE, &[], shards.waiting);
    let millis = |took: &Duration| took.as_secs_f64() * 1e3;
    let total: f64 = numbers.loads.iter().map(millis).sum();
    let average = total / float(numbers.loads.len().max(1) as u64);
    report.gauge(names::LOAD_TIME_AVG, &[], average);
    report.gauge(names::LOAD_TIME_MAX, &[], numbers.loads.iter().map(millis).fold(0.0, f64::max));
    report.times(names::COORDINATOR_QUEUE_TIME, &[], numbers.queue);
    report.times(names::COORDINATOR_PROCESSING_TIME, &[], numbers.processing);
    report.times(names::COORDINATOR_PURGATORY_TIME, &[], numbers.purgatory);
    report.times(names::COORDINATOR_LINGER_TIME, &[], numbers.linger);
    report.times(names::COORDINATOR_FLUSH_TIME, &[], numbers.flush);
    report.times(names::COORDINATOR_BACKGROUND_QUEUE_TIME, &[], numbers.background_queue);
    report.times(names::COORDINATOR_BACKGROUND_TIME, &[], numbers.background);
    report.counter(names::COORDINATOR_APPENDS, &[], numbers.appends);
    report
}

/// The APIs that were used, and what their answers were.
fn of_apis(report: &mut Report, cores: &[CoreMetrics]) {
    let mut failed = BTreeMap::from([(ApiKey::Produce.code(), 0), (ApiKey::Fetch.code(), 0)]);
    for &key in ApiKey::ALL {
        let requests = cores.iter().map(|core| core.api(key).requests.get()).sum();
        if requests == 0 {
            continue;
        }
        report.counter(names::REQUESTS, &[key.name()], requests);
        let times: Vec<_> = cores.iter().filter_map(|core| core.api(key).times()).collect();
        if !times.is_empty() {
            report.times(names::REQUEST_TIME, &[key.name()], times);
        }
        let mut errors: BTreeMap<ErrorCode, u64> = BTreeMap::new();
        for (code, count) in cores.iter().flat_map(|core| core.api(key).errors()) {
            *errors.entry(code).or_default() += count;
        }
        for (code, count) in errors {
            report.counter(names::REQUEST_ERRORS, &[key.name(), code.name()], count);
            if let Some(failed) = failed.get_mut(&key.code()).filter(|_| !EXPECTED.contains(&code)) {
                *failed += count;
            }
        }
    }
    report.counter(names::FAILED_PRODUCE_REQUESTS, &[], failed[&ApiKey::Produce.code()]);
    report.counter(names::FAILED_FETCH_REQUESTS, &[], failed[&ApiKey::Fetch.code()]);
}

/// What a crash has left to do.
fn of_recoveries(report: &mut Report, shared: &Shared) {
    let threads = recovering::threads(shared);
    for (path, logs) in shared.log_dirs.recoveries() {
        report.gauge(names::LOGS_TO_RECOVER, &[&path.to_string_lossy()], float(logs as u64));
    }
    for (path, numbers) in shared.log_dirs.segments_to_recover(threads) {
        for (number, segments) in numbers.into_iter().enumerate() {
            let labels = [&*path.to_string_lossy(), &*number.to_string()];
            report.gauge(names::SEGMENTS_TO_RECOVER, &labels, float(segments as u64));
        }
    }
}

/// Each open partition's log.
fn of_logs(logs: &[LogNumbers]) -> Report {
    let mut report = Report::default();
    for log in logs {
        let partition = log.partition.to_string();
        let mut gauge =
            |metric: MetricDef, value: u64| report.gauge(metric, &[&log.topic, &partition], float(value));
        let offset = |offset: i64| u64::try_from(offset).unwrap_or(0);
        gauge(names::LOG_SIZE, log.size);
        gauge(names::LOG_START_OFFSET, offset(log.start.get()));
        gauge(names::LOG_END_OFFSET, offset(log.end.get()));
        gauge(names::LOG_SEGMENTS, log.segments as u64);
        for damage in &log.damaged {
            let (first, last) = (damage.first.to_string(), (damage.next.get() - 1).to_string());
            let bytes = float(damage.end_position - damage.position);
            report.gauge(names::LOG_DAMAGED_BYTES, &[&log.topic, &partition, &first, &last], bytes);
        }
    }
    let damages = logs.iter().map(|log| log.damaged.len() as u64).sum();
    report.gauge(names::LOG_DAMAGES, &[], float(damages));
    report
}

#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

pub fn of_controller(metrics: &Metrics, controller: &ControllerHandle) {
    let controller = controller.clone();
    metrics.source(move |report| {
        let (status, image) = (controller.status(), controller.image());
        let (mut partitions, mut offline, mut elsewhere) = (0, 0, 0);
        for topic in image.topics.iter() {
            partitions += topic.partitions.len();
            for (_, partition) in topic.partitions.iter() {
                offline += usize::from(partition.leader.0 < 0);
                elsewhere += usize::from(partition.replicas.first() != Some(&partition.leader));
            }
        }
        let fenced = image.brokers.iter().filter(|broker| broker.fenced).count();
        let mut gauge = |metric, value: usize| report.gauge(metric, &[], float(value as u64));
        gauge(names::ACTIVE_CONTROLLERS, usize::from(status.active));
        gauge(names::ACTIVE_BROKERS, image.brokers.iter().count() - fenced);
        gauge(names::FENCED_BROKERS, fenced);
        gauge(names::GLOBAL_TOPICS, image.topics.iter().count());
        gauge(names::GLOBAL_PARTITIONS, partitions);
        gauge(names::OFFLINE_PARTITIONS, offline);
        gauge(names::PREFERRED_IMBALANCE, elsewhere);
        let offset = u64::try_from(status.last_applied.get()).unwrap_or(0);
        report.gauge(names::METADATA_OFFSET, &[], float(offset));
    });
}
