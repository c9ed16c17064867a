//! The registry: who counts hands in a number or a way to read one; who asks gets all of them as text.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dohle_env::Env;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::latency::{self, BUCKETS, Latencies};
use crate::names::{self, Kind, MetricDef};
use crate::process;

/// The quantiles that Kafka's dashboards show of a time.
const QUANTILES: &[(&str, f64)] =
    &[("0.50", 0.5), ("0.75", 0.75), ("0.95", 0.95), ("0.98", 0.98), ("0.99", 0.99), ("0.999", 0.999)];

/// A number that only grows. Clones count into the same number.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set. Clones set the same number.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What Kafka's coordinators call the longest of their times and their quantiles.
const PERCENTILES: &[(&str, f64)] =
    &[("max", 1.0), ("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)];

/// The registry of a node. Clones are one registry.
///
/// Handles are made once and kept: making one takes a lock, using one does not.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    start_seconds: f64,
    series: Mutex<Vec<Series>>,
    sources: Mutex<Vec<Source>>,
    asked: Mutex<Vec<Asked>>,
}

/// One line, or for times several.
struct Series {
    metric: MetricDef,
    labels: Vec<(&'static str, String)>,
    read: Read,
}

enum Read {
    Count(Box<dyn Fn() -> u64 + Send>),
    Gauge(Box<dyn Fn() -> f64 + Send>),
    Times(Box<dyn Fn() -> Vec<Latencies> + Send>),
}

/// Asked at every reading for series that come and go.
type Source = Box<dyn Fn(&mut Report) + Send>;

/// As [`Source`], for numbers that others have to be asked for.
type Asked = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Report> + Send>> + Send + Sync>;

/// What a source writes into.
#[derive(Default)]
pub struct Report(Vec<Series>);

impl Report {
    /// `labels` are the values of the metric's labels, in their order.
    pub fn gauge(&mut self, metric: MetricDef, labels: &[&str], value: f64) {
        assert_eq!(metric.kind, Kind::Gauge, "{}", metric.name);
        let read = Read::Gauge(Box::new(move || value));
        self.0.push(Series { metric, labels: labelled(metric, labels), read });
    }

    pub fn counter(&mut self, metric: MetricDef, labels: &[&str], value: u64) {
        assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
        let read = Read::Count(Box::new(move || value));
        self.0.push(Series { metric, labels: labelled(metric, labels), read });
    }

    pub fn times(&mut self, metric: MetricDef, labels: &[&str], times: Vec<Latencies>) {
        assert!(matches!(metric.kind, Kind::Latency | Kind::Percentiles), "{}", metric.name);
        let read = Read::Times(Box::new(move || times.clone()));
        self.0.push(Series { metric, labels: labelled(metric, labels), read });
    }
}

impl Metrics {
    /// A registry that shows the process already.
    pub fn new(env: Env) -> Self {
        #[allow(clippy::cast_precision_loss)]
        let start_seconds = env.clock.now().0 as f64 / 1000.0;
        let shared = Shared {
            env,
            start_seconds,
            series: Mutex::default(),
            sources: Mutex::default(),
            asked: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A counter of its own. `labels` are the values of the metric's labels, in their order.
    pub fn counter(&self, metric: MetricDef, labels: &[&str]) -> Counter {
        let counter = Counter::default();
        let counted = counter.clone();
        self.read_counter(metric, labels, move || counted.get());
        counter
    }

    /// A gauge of its own.
    pub fn gauge(&self, metric: MetricDef, labels: &[&str]) -> Gauge {
        let gauge = Gauge::default();
        let set = gauge.clone();
        #[allow(clippy::cast_precision_loss)]
        self.read_gauge(metric, labels, move || set.get() as f64);
        gauge
    }

    /// A counter that is kept elsewhere, per core for instance, and read when somebody asks.
    pub fn read_counter(&self, metric: MetricDef, labels: &[&str], read: impl Fn() -> u64 + Send + 'static) {
        self.add(metric, Kind::Counter, labels, Read::Count(Box::new(read)));
    }

    /// A gauge that is kept elsewhere.
    pub fn read_gauge(&self, metric: MetricDef, labels: &[&str], read: impl Fn() -> f64 + Send + 'static) {
        self.add(metric, Kind::Gauge, labels, Read::Gauge(Box::new(read)));
    }

    /// Times that are taken elsewhere, in one or several places. The quantiles are over all that were taken.
    pub fn read_times(
        &self,
        metric: MetricDef,
        labels: &[&str],
        read: impl Fn() -> Vec<Latencies> + Send + 'static,
    ) {
        self.add(metric, Kind::Latency, labels, Read::Times(Box::new(read)));
    }

    /// Somebody to ask at every reading for series that come and go, such as those of partitions.
    pub fn source(&self, source: impl Fn(&mut Report) + Send + 'static) {
        lock(&self.shared.sources).push(Box::new(source));
    }

    /// As [`Metrics::source`], for numbers that others have to be asked for first.
    pub fn ask<F>(&self, ask: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Report> + Send + 'static,
    {
        lock(&self.shared.asked).push(Arc::new(move || Box::pin(ask())));
    }

    /// Everything, in the text format of OpenMetrics, which Prometheus reads.
    pub async fn read(&self) -> String {
        let asked = lock(&self.shared.asked).clone();
        let mut report = Report::default();
        for ask in asked {
            report.0.extend(ask().await.0);
        }
        self.encode(report)
    }

    fn encode(&self, asked: Report) -> String {
        let mut registry = Registry::default();
        let asked = Mutex::new(asked);
        registry.register_collector(Box::new(Reading { shared: self.shared.clone(), asked }));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("a string takes everything");
        text
    }

    fn add(&self, metric: MetricDef, kind: Kind, labels: &[&str], read: Read) {
        assert_eq!(metric.kind, kind, "{}", metric.name);
        lock(&self.shared.series).push(Series { metric, labels: labelled(metric, labels), read });
    }
}

fn labelled(metric: MetricDef, values: &[&str]) -> Vec<(&'static str, String)> {
    assert_eq!(metric.labels.len(), values.len(), "labels of {}", metric.name);
    metric.labels.iter().copied().zip(values.iter().map(|value| (*value).to_owned())).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One reading of everything.
struct Reading {
    shared: Arc<Shared>,
    /// What the others answered.
    asked: Mutex<Report>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reading")
    }
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut report = std::mem::take(&mut *lock(&self.asked));
        lock(&self.shared.sources).iter().for_each(|source| source(&mut report));
        report.gauge(names::PROCESS_START, &[], self.shared.start_seconds);
        let cpu_seconds = process::report(self.shared.env.disk.as_ref(), &mut report);
        let kept = lock(&self.shared.series);
        let all: Vec<&Series> = kept.iter().chain(&report.0).collect();
        // The series of one metric have to stand together.
        for metric in names::ALL {
            let series = || all.iter().filter(|series| series.metric.name == metric.name);
            if series().next().is_none() {
                continue;
            }
            match metric.kind {
                Kind::Counter | Kind::Gauge => encode_numbers(&mut encoder, metric, series().copied())?,
                Kind::Latency => encode_times(&mut encoder, metric, series().copied())?,
                Kind::Percentiles => encode_percentiles(&mut encoder, metric, series().copied())?,
            }
        }
        if let Some(seconds) = cpu_seconds {
            let metric = ConstCounter::new(seconds);
            let name = names::PROCESS_CPU;
            metric.encode(encoder.encode_descriptor(name.name, name.help, None, metric.metric_type())?)?;
        }
        Ok(())
    }
}

fn encode_numbers<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &MetricDef,
    series: impl Iterator<Item = &'a Series>,
) -> fmt::Result {
    let kind = if metric.kind == Kind::Counter {
        ConstCounter::new(0_u64).metric_type()
    } else {
        ConstGauge::new(0.0).metric_type()
    };
    let mut descriptor = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
    let encode = |one: &Series, encoder: MetricEncoder<'_>| match &one.read {
        Read::Count(read) => ConstCounter::new(read()).encode(encoder),
        Read::Gauge(read) => ConstGauge::new(read()).encode(encoder),
        Read::Times(_) => unreachable!("the kind is checked when it is added"),
    };
    for one in series {
        if one.labels.is_empty() {
            // There is no other of the same metric.
            return encode(one, descriptor);
        }
        encode(one, descriptor.encode_family(&one.labels)?)?;
    }
    Ok(())
}

/// Quantiles under the metric's own name, and how many there were under `_count`, as the JMX exporter shows them.
fn encode_times<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &MetricDef,
    series: impl Iterator<Item = &'a Series>,
) -> fmt::Result {
    let mut counts = Vec::new();
    let mut descriptor =
        encoder.encode_descriptor(metric.name, metric.help, None, ConstGauge::new(0.0).metric_type())?;
    for one in series {
        let Read::Times(read) = &one.read else { unreachable!("the kind is checked when it is added") };
        let mut sums = [0; BUCKETS];
        read().iter().for_each(|latencies| latencies.add_to(&mut sums));
        for (name, share) in QUANTILES {
            let mut labels = one.labels.clone();
            labels.push(("quantile", (*name).to_owned()));
            ConstGauge::new(latency::quantile(&sums, *share)).encode(descriptor.encode_family(&labels)?)?;
        }
        counts.push((&one.labels, sums.iter().sum::<u64>()));
    }
    let name = format!("{}_count", metric.name);
    let mut descriptor =
        encoder.encode_descriptor(&name, metric.help, None, ConstGauge::new(0_u64).metric_type())?;
    for (labels, count) in counts {
        ConstGauge::new(count).encode(descriptor.encode_family(labels)?)?;
    }
    Ok(())
}

/// A gauge for each of the percentiles.
fn encode_percentiles<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &MetricDef,
    series: impl Iterator<Item = &'a Series>,
) -> fmt::Result {
    for one in series {
        assert!(one.labels.is_empty(), "{} has no labels", metric.name);
        let Read::Times(read) = &one.read else { unreachable!("the kind is checked when it is added") };
        let mut sums = [0; BUCKETS];
        read().iter().for_each(|latencies| latencies.add_to(&mut sums));
        for (name, share) in PERCENTILES {
            let gauge = ConstGauge::new(latency::quantile(&sums, *share));
            let name = format!("{}_{name}", metric.name);
            gauge.encode(encoder.encode_descriptor(&name, metric.help, None, gauge.metric_type())?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn names_are_those_of_kafkas_dashboards() {
        let metrics = Metrics::new(Env::real());
        metrics.counter(names::MESSAGES_IN, &[]).add(7);
        metrics.gauge(names::LEADER_COUNT, &[]).set(3);
        metrics.read_counter(names::REQUESTS, &["Produce"], || 5);
        metrics.read_counter(names::REQUESTS, &["Fetch"], || 6);
        let times = Latencies::default();
        times.record(Duration::from_millis(2));
        metrics.read_times(names::REQUEST_TIME, &["Produce"], move || vec![times.clone()]);
        metrics.ask(|| async {
            let mut report = Report::default();
            report.gauge(names::LOG_SIZE, &["a\"b", "0"], 12.0);
            let times = Latencies::default();
            times.record(Duration::from_micros(5));
            report.times(names::COORDINATOR_QUEUE_TIME, &[], vec![times]);
            report
        });
        let text = dohle_env::thread::block_on(metrics.read());
        for line in [
            "kafka_server_brokertopicmetrics_messagesin_total 7",
            "kafka_server_replicamanager_leadercount 3.0",
            "kafka_network_requestmetrics_requests_total{request=\"Produce\"} 5",
            "kafka_network_requestmetrics_requests_total{request=\"Fetch\"} 6",
            "kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"} 1",
            "kafka_log_log_size{topic=\"a\\\"b\",partition=\"0\"} 12.0",
            "kafka_server_group_coordinator_metrics_event_queue_time_ms_max 0.005",
            "kafka_server_group_coordinator_metrics_event_queue_time_ms_p999 0.005",
            "# TYPE kafka_server_brokertopicmetrics_messagesin counter",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(
            text.contains(
                "kafka_network_requestmetrics_totaltimems{request=\"Produce\",quantile=\"0.99\"} 1.9"
            )
        );
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_start_time_seconds ",
        ] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in\n{text}");
        }
    }
}
