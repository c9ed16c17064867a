"""kafka-python, which shares no code with librdkafka, behind the command interface of docs/clients.md."""
import os
import re
import sys
import time

import kafka.errors
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from content import IDLE_LIMIT_S, ApiError, Comparison, Content, found, pairs, serve

BASE = {"bootstrap_servers": sys.argv[1], "client_id": "dohle-kafka-python"}
CREATE_TIME, APPEND_TIME = 0, 1
DELETE = "DELETE"


def checked(verb):
    """Kafka's refusals carry their code through; everything else is left to the loop."""
    def run(args):
        try:
            return verb(args)
        except kafka.errors.KafkaError as e:
            raise ApiError(getattr(e, "errno", -1000), repr(e)) from e
    return run


def producer(args):
    acks = args.get("acks", "all")
    codec = args.get("codec", "none")
    return KafkaProducer(**BASE, acks=acks if acks == "all" else int(acks), enable_idempotence=args.get("idempotent") == "true",
                         compression_type=None if codec == "none" else codec, linger_ms=5, batch_size=65536,
                         max_request_size=16_000_000)


def produce(args):
    content = Content(args)
    partitions, first, count = int(args["partitions"]), int(args.get("from", 0)), int(args["count"])
    client = producer(args)
    futures = []
    for i in range(first, first + count):
        timestamp, key, value, headers = content.at(i)
        futures.append((i // partitions, client.send(args["topic"], value, key, headers, i % partitions, timestamp)))
    client.flush(IDLE_LIMIT_S)
    at_offset = sum(1 for offset, f in futures if f.get(IDLE_LIMIT_S).offset == offset)
    client.close()
    return {"records": count, "at_offset": at_offset}


def big(args):
    client = producer(args)
    try:
        sent = client.send(args["topic"], b"x" * int(args["bytes"]), partition=int(args["partition"]))
        return {"offset": sent.get(IDLE_LIMIT_S).offset}
    finally:
        client.close()


def consumer():
    return KafkaConsumer(**BASE, group_id=None, enable_auto_commit=False, auto_offset_reset="none")


def consume(args):
    comparison = Comparison(args)
    append_time = args.get("stamp") == "append"
    client = consumer()
    assigned = [TopicPartition(args["topic"], p) for p in range(comparison.partitions)]
    client.assign(assigned)
    client.seek_to_beginning(*assigned)
    try:
        while not comparison.done():
            for records in client.poll(200, max_records=5000).values():
                for m in records:
                    if m.timestamp_type != (APPEND_TIME if append_time else CREATE_TIME):
                        raise RuntimeError(f"timestamp type {m.timestamp_type}")
                    timestamp = m.timestamp
                    if append_time:
                        timestamp = comparison.content.at(m.offset * comparison.partitions + m.partition)[0]
                    comparison.take(m.partition, m.offset, (timestamp, m.key, m.value, [tuple(h) for h in m.headers]))
    finally:
        client.close()
    return comparison.reply()


def seek(args):
    client = consumer()
    partition = TopicPartition(args["topic"], int(args["partition"]))
    client.assign([partition])
    client.seek(partition, int(args["offset"]))
    try:
        until = time.monotonic() + IDLE_LIMIT_S
        while time.monotonic() < until:
            for records in client.poll(200, max_records=1).values():
                return found(records[0].offset, records[0].timestamp, records[0].value)
    finally:
        client.close()
    raise RuntimeError("no record came")


def times(args):
    client = consumer()
    partition = TopicPartition(args["topic"], int(args["partition"]))
    try:
        found = [client.offsets_for_times({partition: int(t)})[partition] for t in args["timestamps"].split(",")]
        return {"offsets": [-1 if at is None else at.offset for at in found]}
    finally:
        client.close()


def ends(args):
    client = consumer()
    partitions = [TopicPartition(args["topic"], p) for p in range(int(args["partitions"]))]
    try:
        starts, stops = client.beginning_offsets(partitions), client.end_offsets(partitions)
        return {"starts": [starts[p] for p in partitions], "ends": [stops[p] for p in partitions]}
    finally:
        client.close()


admin = KafkaAdminClient(**BASE)


def create(args):
    admin.create_topics({args["topic"]: {"num_partitions": int(args["partitions"]), "replication_factor": int(args["replicas"]),
                                         "configs": pairs(args, "config")}})


def describe(args):
    (topic,) = admin.describe_topics([args["topic"]])
    if topic["error_code"]:
        raise kafka.errors.for_code(topic["error_code"])()
    answers = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, args["topic"])], config_filter="all")
    return {"partitions": [{"partition": p["partition_index"], "leader": p["leader_id"], "replicas": list(p["replica_nodes"]),
                            "isr": list(p["isr_nodes"])}
                           for p in sorted(topic["partitions"], key=lambda p: p["partition_index"])],
            "configs": {name: entry["value"] for name, entry in answers["topic"][args["topic"]].items()}}


def alter(entry):
    def run(args):
        configs = {k: entry(v) for k, v in pairs(args, "config").items()}
        answer = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, args["topic"], configs)], raise_on_unknown=False)
        outcome = answer["topic"][args["topic"]]
        if outcome != "OK":  # "[Error 40] InvalidConfigurationError: ..."
            raise ApiError(int(re.match(r"\[Error (\d+)\]", outcome)[1]), outcome)
    return run


def grow(args):
    admin.create_partitions({args["topic"]: int(args["partitions"])})


def purge(args):
    partition = TopicPartition(args["topic"], int(args["partition"]))
    return {"low_watermark": admin.delete_records({partition: int(args["offset"])})[partition]["low_watermark"]}


def delete(args):
    admin.delete_topics([args["topic"]])


def cluster(args):
    described = admin.describe_cluster()
    return {"cluster": described["cluster_id"], "nodes": [f"{b['host']}:{b['port']}" for b in described["brokers"]]}


serve({name: checked(verb) for name, verb in {
    "produce": produce, "big": big, "consume": consume, "seek": seek, "times": times, "ends": ends, "create": create,
    "list": lambda args: {"topics": sorted(admin.list_topics())}, "describe": describe, "alter": alter(lambda v: v),
    "reset": alter(lambda v: (DELETE, None)), "grow": grow, "purge": purge, "delete": delete, "cluster": cluster}.items()})
os._exit(0)  # the clients' threads need no farewell
