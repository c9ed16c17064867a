"""kafka-python, which shares no code with librdkafka, as members of groups."""
import os
import sys

import kafka.errors
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from member import Member, serve

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor,
             "cooperative-sticky": CooperativeStickyAssignor}


class Listener(ConsumerRebalanceListener):
    def __init__(self, member):
        self.member = member

    def on_partitions_assigned(self, assigned):
        self.member.assigned([tuple(p) for p in assigned])

    def on_partitions_revoked(self, revoked):
        self.member.revoked([tuple(p) for p in revoked])

    def on_partitions_lost(self, lost):
        self.member.lost([tuple(p) for p in lost])


class Pure(Member):
    refusal = kafka.errors.KafkaError

    def open(self):
        args = self.args
        self.consumer = KafkaConsumer(
            bootstrap_servers=sys.argv[1], client_id=args["member"], group_id=args["group"], group_instance_id=args.get("instance"),
            enable_auto_commit=False, auto_offset_reset="earliest", session_timeout_ms=int(args["session_ms"]),
            heartbeat_interval_ms=500, partition_assignment_strategy=(ASSIGNORS[args["assignor"]],), metadata_max_age_ms=1000,
            reconnect_backoff_ms=20, reconnect_backoff_max_ms=200, fetch_max_wait_ms=100, request_timeout_ms=15000)
        pattern = args.get("pattern")
        self.consumer.subscribe(() if pattern else [args["topic"]], pattern=pattern, listener=Listener(self))

    def poll(self):
        for records in self.consumer.poll(timeout_ms=100, max_records=500).values():
            for r in records:
                yield r.topic, r.partition, r.offset, r.value

    def send_commit(self, offsets):
        self.consumer.commit({TopicPartition(t, p): OffsetAndMetadata(o, "", -1) for (t, p), o in offsets.items()}, timeout_ms=60000)

    def close(self):
        self.consumer.close()


serve(Pure)
os._exit(0)
