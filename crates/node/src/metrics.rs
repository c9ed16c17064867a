//! The numbers of the node's parts under their names. The parts count, or know; they are asked when somebody reads.

use dohle_broker::BrokerHandle;
use dohle_broker::metrics::{CoreMetrics, Counters};
use dohle_controller::ControllerHandle;
use dohle_observe::{Health, Metrics, Status, names};

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
    #[allow(clippy::cast_precision_loss)]
    metrics.read_gauge(names::CONNECTIONS, &[], move || {
        let open =
            |core: &CoreMetrics| core.connections_opened.get().saturating_sub(core.connections_closed.get());
        cores.iter().map(open).sum::<u64>() as f64
    });
}

#[allow(clippy::cast_precision_loss)]
pub fn of_controller(metrics: &Metrics, controller: &ControllerHandle) {
    let controller = controller.clone();
    metrics.source(move |report| {
        let (status, image) = (controller.status(), controller.image());
        let (mut partitions, mut offline) = (0, 0);
        for topic in image.topics.iter() {
            partitions += topic.partitions.len();
            offline += topic.partitions.iter().filter(|(_, partition)| partition.leader.0 < 0).count();
        }
        let fenced = image.brokers.iter().filter(|broker| broker.fenced).count();
        let mut gauge = |metric, value: usize| report.gauge(metric, &[], value as f64);
        gauge(names::ACTIVE_CONTROLLERS, usize::from(status.active));
        gauge(names::ACTIVE_BROKERS, image.brokers.iter().count() - fenced);
        gauge(names::FENCED_BROKERS, fenced);
        gauge(names::GLOBAL_TOPICS, image.topics.iter().count());
        gauge(names::GLOBAL_PARTITIONS, partitions);
        gauge(names::OFFLINE_PARTITIONS, offline);
        report.gauge(names::METADATA_OFFSET, &[], status.last_applied.0 as f64);
    });
}
