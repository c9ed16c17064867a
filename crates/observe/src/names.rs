//! The metrics and their names, in one table.
//!
//! A name is what the JMX exporter makes of Kafka's MBean with its usual rules for Kafka (`kafka_<domain>_<type>_<name>`, in lower
//! case, rates as the counter behind them with `_total`), so that dashboards made for Kafka find it here. What Kafka does not have
//! is named `dohle_...`; what is about the process is named as Prometheus clients name it.

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. Its name is written without the `_total` that it is shown with.
    Counter,
    Gauge,
    /// Times in milliseconds, shown as quantiles and a count.
    Latency,
    /// Times in milliseconds as Kafka's coordinators show them: a gauge for the longest and one for each quantile, with its name as
    /// the end of the metric's.
    Percentiles,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricDef {
    pub name: &'static str,
    pub kind: Kind,
    /// The names of the labels that a series of it has.
    pub labels: &'static [&'static str],
    pub help: &'static str,
    /// Kafka's MBean, empty for what Kafka does not have.
    pub mbean: &'static str,
}

macro_rules! metrics {
    ($($constant:ident $kind:ident $name:literal [$($label:literal)*] $help:literal $mbean:literal)*) => {
        $(
            #[doc = $help]
            pub const $constant: MetricDef =
                MetricDef { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help, mbean: $mbean };
        )*

        /// Every metric there is.
        pub const ALL: &[MetricDef] = &[$($constant),*];
    };
}

#[rustfmt::skip]
metrics! {
    MESSAGES_IN Counter "kafka_server_brokertopicmetrics_messagesin" [] "Records appended" "kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec"
    BYTES_IN Counter "kafka_server_brokertopicmetrics_bytesin" [] "Bytes of records appended" "kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec"
    BYTES_OUT Counter "kafka_server_brokertopicmetrics_bytesout" [] "Bytes of records sent to consumers" "kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec"
    PRODUCE_REQUESTS Counter "kafka_server_brokertopicmetrics_totalproducerequests" [] "Produce requests" "kafka.server:type=BrokerTopicMetrics,name=TotalProduceRequestsPerSec"
    FETCH_REQUESTS Counter "kafka_server_brokertopicmetrics_totalfetchrequests" [] "Fetch requests" "kafka.server:type=BrokerTopicMetrics,name=TotalFetchRequestsPerSec"
    FAILED_PRODUCE_REQUESTS Counter "kafka_server_brokertopicmetrics_failedproducerequests" [] "Produce requests that failed" "kafka.server:type=BrokerTopicMetrics,name=FailedProduceRequestsPerSec"
    FAILED_FETCH_REQUESTS Counter "kafka_server_brokertopicmetrics_failedfetchrequests" [] "Fetch requests that failed" "kafka.server:type=BrokerTopicMetrics,name=FailedFetchRequestsPerSec"
    BYTES_REJECTED Counter "kafka_server_brokertopicmetrics_bytesrejected" [] "Bytes of records refused" "kafka.server:type=BrokerTopicMetrics,name=BytesRejectedPerSec"
    REQUESTS Counter "kafka_network_requestmetrics_requests" ["request"] "Requests by API" "kafka.network:type=RequestMetrics,name=RequestsPerSec,request=..."
    REQUEST_ERRORS Counter "kafka_network_requestmetrics_errors" ["request" "error"] "Answers by API and error code" "kafka.network:type=RequestMetrics,name=ErrorsPerSec,request=...,error=..."
    REQUEST_TIME Latency "kafka_network_requestmetrics_totaltimems" ["request"] "Time from a request's last byte to its answer's" "kafka.network:type=RequestMetrics,name=TotalTimeMs,request=..."
    CONNECTIONS_OPENED Counter "kafka_server_socket_server_metrics_connection_creation" [] "Connections accepted" "kafka.server:type=socket-server-metrics,name=connection-creation-total"
    CONNECTIONS_CLOSED Counter "kafka_server_socket_server_metrics_connection_close" [] "Connections closed" "kafka.server:type=socket-server-metrics,name=connection-close-total"
    CONNECTIONS Gauge "kafka_server_socket_server_metrics_connection_count" [] "Connections open" "kafka.server:type=socket-server-metrics,name=connection-count"
    BROKER_STATE Gauge "kafka_server_kafkaserver_brokerstate" [] "State of the broker: 1 starting, 2 recovering, 3 running, 6 leaving, 7 stopping" "kafka.server:type=KafkaServer,name=BrokerState"
    LEADER_COUNT Gauge "kafka_server_replicamanager_leadercount" [] "Partitions led" "kafka.server:type=ReplicaManager,name=LeaderCount"
    PARTITION_COUNT Gauge "kafka_server_replicamanager_partitioncount" [] "Partitions held" "kafka.server:type=ReplicaManager,name=PartitionCount"
    UNDER_REPLICATED Gauge "kafka_server_replicamanager_underreplicatedpartitions" [] "Partitions led with replicas that are not in sync" "kafka.server:type=ReplicaManager,name=UnderReplicatedPartitions"
    UNDER_MIN_ISR Gauge "kafka_server_replicamanager_underminisrpartitioncount" [] "Partitions led with fewer in-sync replicas than acks=all needs" "kafka.server:type=ReplicaManager,name=UnderMinIsrPartitionCount"
    OFFLINE_REPLICAS Gauge "kafka_server_replicamanager_offlinereplicacount" [] "Replicas on log directories that are lost" "kafka.server:type=ReplicaManager,name=OfflineReplicaCount"
    OFFLINE_LOG_DIRS Gauge "kafka_log_logmanager_offlinelogdirectorycount" [] "Log directories that are lost" "kafka.log:type=LogManager,name=OfflineLogDirectoryCount"
    LOGS_TO_RECOVER Gauge "kafka_log_logmanager_remaininglogstorecover" ["dir"] "Logs of a directory that are still to be recovered" "kafka.log:type=LogManager,name=remainingLogsToRecover,dir=..."
    SEGMENTS_TO_RECOVER Gauge "kafka_log_logmanager_remainingsegmentstorecover" ["dir" "threadNum"] "Segments that a recovery has still to verify" "kafka.log:type=LogManager,name=remainingSegmentsToRecover,dir=...,threadNum=..."
    LOG_DIR_OFFLINE Gauge "kafka_log_logmanager_logdirectoryoffline" ["logDirectory"] "1 for a log directory that is lost" "kafka.log:type=LogManager,name=LogDirectoryOffline,logDirectory=..."
    UNCLEANABLE_PARTITIONS Gauge "kafka_log_logcleanermanager_uncleanable_partitions_count" [] "Partitions whose logs cannot be compacted" "kafka.log:type=LogCleanerManager,name=uncleanable-partitions-count"
    MAX_DIRTY_PERCENT Gauge "kafka_log_logcleanermanager_max_dirty_percent" [] "Dirty part of the dirtiest compacted log, when last looked" "kafka.log:type=LogCleanerManager,name=max-dirty-percent"
    MOVES_FAILED Gauge "kafka_server_replicaalterlogdirsmanager_failedpartitionscount" ["clientId"] "Partitions whose last move between log directories has failed" "kafka.server:type=ReplicaAlterLogDirsManager,name=FailedPartitionsCount,clientId=ReplicaAlterLogDirs"
    MOVES_MAX_LAG Gauge "kafka_server_replicaalterlogdirsmanager_maxlag" ["clientId"] "By how many offsets the slowest move between log directories is behind" "kafka.server:type=ReplicaAlterLogDirsManager,name=MaxLag,clientId=ReplicaAlterLogDirs"
    LOG_SIZE Gauge "kafka_log_log_size" ["topic" "partition"] "Bytes of a partition's log" "kafka.log:type=Log,name=Size,topic=...,partition=..."
    LOG_START_OFFSET Gauge "kafka_log_log_logstartoffset" ["topic" "partition"] "First offset of a partition's log" "kafka.log:type=Log,name=LogStartOffset,topic=...,partition=..."
    LOG_END_OFFSET Gauge "kafka_log_log_logendoffset" ["topic" "partition"] "Offset after the last one of a partition's log" "kafka.log:type=Log,name=LogEndOffset,topic=...,partition=..."
    LOG_SEGMENTS Gauge "kafka_log_log_numlogsegments" ["topic" "partition"] "Segments of a partition's log" "kafka.log:type=Log,name=NumLogSegments,topic=...,partition=..."
    LOG_FLUSHES Counter "kafka_log_logflushstats_logflushrateandtimems" [] "Flushes to disk" "kafka.log:type=LogFlushStats,name=LogFlushRateAndTimeMs"
    ACTIVE_CONTROLLERS Gauge "kafka_controller_kafkacontroller_activecontrollercount" [] "1 on the active controller" "kafka.controller:type=KafkaController,name=ActiveControllerCount"
    ACTIVE_BROKERS Gauge "kafka_controller_kafkacontroller_activebrokercount" [] "Brokers that are registered and not fenced" "kafka.controller:type=KafkaController,name=ActiveBrokerCount"
    FENCED_BROKERS Gauge "kafka_controller_kafkacontroller_fencedbrokercount" [] "Brokers that are registered and fenced" "kafka.controller:type=KafkaController,name=FencedBrokerCount"
    GLOBAL_TOPICS Gauge "kafka_controller_kafkacontroller_globaltopiccount" [] "Topics of the cluster" "kafka.controller:type=KafkaController,name=GlobalTopicCount"
    GLOBAL_PARTITIONS Gauge "kafka_controller_kafkacontroller_globalpartitioncount" [] "Partitions of the cluster" "kafka.controller:type=KafkaController,name=GlobalPartitionCount"
    OFFLINE_PARTITIONS Gauge "kafka_controller_kafkacontroller_offlinepartitionscount" [] "Partitions without a leader" "kafka.controller:type=KafkaController,name=OfflinePartitionsCount"
    PREFERRED_IMBALANCE Gauge "kafka_controller_kafkacontroller_preferredreplicaimbalancecount" [] "Partitions that their preferred replica does not lead" "kafka.controller:type=KafkaController,name=PreferredReplicaImbalanceCount"
    METADATA_OFFSET Gauge "kafka_controller_kafkacontroller_lastcommittedrecordoffset" [] "Offset of the last committed metadata record" "kafka.controller:type=KafkaController,name=LastCommittedRecordOffset"
    LOG_DAMAGED_BYTES Gauge "dohle_log_damaged_bytes" ["topic" "partition" "first_offset" "last_offset"] "Bytes of a partition's log that are damaged and not served; their offsets" ""
    LOG_DAMAGES Gauge "dohle_log_damaged_stretches" [] "Damaged stretches in the logs of all open partitions" ""
    GROUPS Gauge "kafka_coordinator_group_groupmetadatamanager_numgroups" [] "Groups of the classic protocol" "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroups"
    GROUPS_PREPARING Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupspreparingrebalance" [] "Groups of the classic protocol that wait for members to join" "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsPreparingRebalance"
    GROUPS_COMPLETING Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupscompletingrebalance" [] "Groups of the classic protocol that wait for their leader's assignment" "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsCompletingRebalance"
    GROUPS_STABLE Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupsstable" [] "Groups of the classic protocol at rest" "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsStable"
    GROUPS_DEAD Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupsdead" [] "Always 0: a group that ends is gone" "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsDead"
    GROUPS_EMPTY Gauge "kafka_coordinator_group_groupmetadatamanager_numgroupsempty" [] "Groups of the classic protocol without members" "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroupsEmpty"
    OFFSETS Gauge "kafka_coordinator_group_groupmetadatamanager_numoffsets" [] "Committed offsets" "kafka.coordinator.group:type=GroupMetadataManager,name=NumOffsets"
    GROUP_COUNT Gauge "kafka_server_group_coordinator_metrics_group_count" ["protocol"] "Groups by protocol" "kafka.server:type=group-coordinator-metrics,name=group-count,protocol=..."
    CONSUMER_GROUP_COUNT Gauge "kafka_server_group_coordinator_metrics_consumer_group_count" ["state"] "Groups of the consumer protocol by state" "kafka.server:type=group-coordinator-metrics,name=consumer-group-count,state=..."
    OFFSET_COMMITS Gauge "kafka_server_group_coordinator_metrics_offset_commit_count" [] "Offsets committed since the start" "kafka.server:type=group-coordinator-metrics,name=offset-commit-count"
    OFFSET_EXPIRATIONS Gauge "kafka_server_group_coordinator_metrics_offset_expiration_count" [] "Offsets expired since the start" "kafka.server:type=group-coordinator-metrics,name=offset-expiration-count"
    OFFSET_DELETIONS Gauge "kafka_server_group_coordinator_metrics_offset_deletion_count" [] "Offsets deleted by administrators since the start" "kafka.server:type=group-coordinator-metrics,name=offset-deletion-count"
    CLASSIC_REBALANCES Gauge "kafka_server_group_coordinator_metrics_group_completed_rebalance_count" [] "Rebalances of the classic protocol completed since the start" "kafka.server:type=group-coordinator-metrics,name=group-completed-rebalance-count"
    CONSUMER_REBALANCES Gauge "kafka_server_group_coordinator_metrics_consumer_group_rebalance_count" [] "Rebalances of the consumer protocol begun since the start" "kafka.server:type=group-coordinator-metrics,name=consumer-group-rebalance-count"
    COORDINATOR_PARTITIONS Gauge "kafka_server_group_coordinator_metrics_num_partitions" ["state"] "Partitions of __consumer_offsets coordinated here, by state" "kafka.server:type=group-coordinator-metrics,name=num-partitions,state=..."
    COORDINATOR_QUEUE Gauge "kafka_server_group_coordinator_metrics_event_queue_size" [] "Requests that wait for their partition to be loaded" "kafka.server:type=group-coordinator-metrics,name=event-queue-size"
    LOAD_TIME_MAX Gauge "kafka_server_group_coordinator_metrics_partition_load_time_max" [] "Longest load of a partition in the last 30 seconds, in milliseconds" "kafka.server:type=group-coordinator-metrics,name=partition-load-time-max"
    LOAD_TIME_AVG Gauge "kafka_server_group_coordinator_metrics_partition_load_time_avg" [] "Average load of a partition in the last 30 seconds, in milliseconds" "kafka.server:type=group-coordinator-metrics,name=partition-load-time-avg"
    COORDINATOR_QUEUE_TIME Percentiles "kafka_server_group_coordinator_metrics_event_queue_time_ms" [] "A request's way to its coordinator" "kafka.server:type=group-coordinator-metrics,name=event-queue-time-ms"
    COORDINATOR_PROCESSING_TIME Percentiles "kafka_server_group_coordinator_metrics_event_processing_time_ms" [] "A coordinator's decision" "kafka.server:type=group-coordinator-metrics,name=event-processing-time-ms"
    COORDINATOR_PURGATORY_TIME Percentiles "kafka_server_group_coordinator_metrics_event_purgatory_time_ms" [] "A reply's wait until its records are stored" "kafka.server:type=group-coordinator-metrics,name=event-purgatory-time-ms"
    COORDINATOR_LINGER_TIME Percentiles "kafka_server_group_coordinator_metrics_batch_linger_time_ms" [] "Records' wait for an append" "kafka.server:type=group-coordinator-metrics,name=batch-linger-time-ms"
    COORDINATOR_FLUSH_TIME Percentiles "kafka_server_group_coordinator_metrics_batch_flush_time_ms" [] "An append until it is stored" "kafka.server:type=group-coordinator-metrics,name=batch-flush-time-ms"
    COORDINATOR_BACKGROUND_QUEUE_TIME Percentiles "kafka_server_group_coordinator_metrics_background_queue_time_ms" [] "A coordinator's work on its way to another thread" "kafka.server:type=group-coordinator-metrics,name=background-queue-time-ms"
    COORDINATOR_BACKGROUND_TIME Percentiles "kafka_server_group_coordinator_metrics_background_processing_time_ms" [] "A coordinator's work on another thread" "kafka.server:type=group-coordinator-metrics,name=background-processing-time-ms"
    COORDINATOR_APPENDS Counter "kafka_server_group_coordinator_metrics_batch_flush" [] "Batches of records appended by coordinators" "kafka.server:type=group-coordinator-metrics,name=batch-flush-rate"
    GROUPS_MEMORY Gauge "dohle_memory_groups_bytes" [] "Memory that members of groups hold, of dohle.memory.groups.bytes" ""
    REQUEST_MEMORY Gauge "dohle_memory_request_bytes" [] "Memory that requests hold, of dohle.memory.request.bytes" ""
    PROCESS_CPU Counter "process_cpu_seconds" [] "Processor time used" ""
    PROCESS_RESIDENT Gauge "process_resident_memory_bytes" [] "Memory in use" ""
    PROCESS_FDS Gauge "process_open_fds" [] "Descriptors open" ""
    PROCESS_MAX_FDS Gauge "process_max_fds" [] "Most descriptors that may be open" ""
    PROCESS_START Gauge "process_start_time_seconds" [] "When the process began, in seconds since 1970" ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_the_mbeans() {
        for metric in ALL.iter().filter(|metric| !metric.mbean.is_empty()) {
            let (domain, attributes) = metric.mbean.split_once(':').expect("domain:attributes");
            let attribute = |name: &str| {
                let found = attributes.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
                found.expect("type and name").to_lowercase().replace('-', "_")
            };
            let name = attribute("name");
            // A rate is the counter behind it.
            let name =
                ["persec", "_rate", "_total"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
            assert_eq!(metric.name, format!("{}_{}_{name}", domain.replace('.', "_"), attribute("type")));
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
