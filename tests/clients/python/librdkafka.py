"""librdkafka, by its Python binding, behind the command interface of docs/clients.md."""
import os
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, OFFSET_BEGINNING, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   ResourceType)

from content import IDLE_LIMIT_S, ApiError, Comparison, Content, found, pairs, serve

BASE = {"bootstrap.servers": sys.argv[1], "client.id": "dohle-librdkafka", "broker.address.family": "v4", "log_level": 0}
TIMEOUT_S = 30
BURST = 200
BURST_PAUSE_S = 0.01


def checked(verb):
    """Kafka's refusals carry their code through; everything else is left to the loop."""
    def run(args):
        try:
            return verb(args)
        except KafkaException as e:
            raise ApiError(e.args[0].code(), e.args[0].str()) from e
    return run


def one(futures):
    (future,) = futures.values()
    return future.result(TIMEOUT_S)


def producer(args):
    return Producer({**BASE, "acks": args.get("acks", "all"), "enable.idempotence": args.get("idempotent", "false"),
                     "compression.type": args.get("codec", "none"), "linger.ms": 5, "message.max.bytes": 16_000_000,
                     "queue.buffering.max.messages": 1_000_000, "message.timeout.ms": 60_000})


def produce(args):
    content = Content(args)
    partitions, first, count = int(args["partitions"]), int(args.get("from", 0)), int(args["count"])
    at_offset, failed = 0, None
    client = producer(args)

    def delivered(expected):
        def report(error, message):
            nonlocal at_offset, failed
            if error is not None:
                failed = failed or ApiError(error.code(), error.str())
            elif message.offset() == expected:
                at_offset += 1
        return report

    for i in range(first, first + count):
        timestamp, key, value, headers = content.at(i)
        client.produce(args["topic"], value, key, i % partitions, on_delivery=delivered(i // partitions), timestamp=timestamp,
                       headers=headers)
        if i % 256 == 0:
            client.poll(0)
    if client.flush(TIMEOUT_S * 2) > 0:
        raise RuntimeError("not everything was delivered")
    if failed:
        raise failed
    return {"records": count, "at_offset": at_offset}


def big(args):
    outcome = []
    client = producer(args)
    client.produce(args["topic"], b"x" * int(args["bytes"]), None, int(args["partition"]),
                   on_delivery=lambda error, message: outcome.append((error, message)))
    client.flush(TIMEOUT_S)
    error, message = outcome[0]
    if error is not None:
        raise ApiError(error.code(), error.str())
    return {"offset": message.offset()}


def consumer():
    return Consumer({**BASE, "group.id": "assigned-by-hand", "enable.auto.commit": False, "auto.offset.reset": "error",
                     "enable.auto.offset.store": False, "check.crcs": True})


def messages(client):
    for message in client.consume(5000, 0.2):
        error = message.error()
        if error is not None:
            # librdkafka wraps what the broker said in an error of its own when no reset is allowed.
            out_of_range = error.code() == KafkaError._AUTO_OFFSET_RESET and "Offset out of range" in error.str()
            raise ApiError(KafkaError.OFFSET_OUT_OF_RANGE if out_of_range else error.code(), error.str())
        yield message


def consume(args):
    comparison = Comparison(args)
    append_time = args.get("stamp") == "append"
    client = consumer()
    client.assign([TopicPartition(args["topic"], p, OFFSET_BEGINNING) for p in range(comparison.partitions)])
    try:
        while not comparison.done():
            for m in messages(client):
                kind, timestamp = m.timestamp()
                if kind != (2 if append_time else 1):
                    raise RuntimeError(f"timestamp type {kind}")
                if append_time:
                    timestamp = comparison.content.at(m.offset() * comparison.partitions + m.partition())[0]
                comparison.take(m.partition(), m.offset(), (timestamp, m.key(), m.value(), m.headers() or []))
    finally:
        client.close()
    return comparison.reply()


def seek(args):
    client = consumer()
    client.assign([TopicPartition(args["topic"], int(args["partition"]), int(args["offset"]))])
    try:
        until = time.monotonic() + IDLE_LIMIT_S
        while time.monotonic() < until:
            for m in messages(client):
                return found(m.offset(), m.timestamp()[1], m.value())
    finally:
        client.close()
    raise RuntimeError("no record came")


def times(args):
    client = consumer()
    try:
        offsets = []
        for t in args["timestamps"].split(","):
            (at,) = client.offsets_for_times([TopicPartition(args["topic"], int(args["partition"]), int(t))], TIMEOUT_S)
            offsets.append(at.offset if at.offset >= 0 else -1)
        return {"offsets": offsets}
    finally:
        client.close()


def ends(args):
    client = consumer()
    try:
        marks = [client.get_watermark_offsets(TopicPartition(args["topic"], p), TIMEOUT_S) for p in range(int(args["partitions"]))]
        return {"starts": [low for low, _ in marks], "ends": [high for _, high in marks]}
    finally:
        client.close()


def dump(args):
    marks = ends(args)
    left = sum(marks["ends"]) - sum(marks["starts"])
    client = consumer()
    client.assign([TopicPartition(args["topic"], p, OFFSET_BEGINNING) for p in range(int(args["partitions"]))])
    lines, idle_since = 0, time.monotonic()
    try:
        with open(args["file"], "w") as out:
            while lines < left:
                for m in messages(client):
                    out.write(f"{m.partition()} {m.offset()} {m.value().decode()}\n")
                    lines += 1
                    idle_since = time.monotonic()
                if time.monotonic() - idle_since > IDLE_LIMIT_S:
                    raise RuntimeError(f"only {lines} of {left} records came")
    finally:
        client.close()
    return {"records": lines}


class Soak:
    """Writes numbered records without end, and one ledger line 'partition offset number' per acknowledgement."""

    def __init__(self, args):
        self.client = Producer({**BASE, "acks": "all", "enable.idempotence": True, "linger.ms": 2, "retry.backoff.ms": 20,
                                "compression.type": args.get("codec", "none"), "message.timeout.ms": 600_000,
                                "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "socket.timeout.ms": 10_000})
        self.topic, self.partitions = args["topic"], int(args["partitions"])
        self.ledger = open(args["ledger"], "w")
        self.sent = self.acknowledged = 0
        self.failed = None
        self.stopping = False
        self.writer = threading.Thread(target=self.write, daemon=True)
        self.writer.start()

    def write(self):
        while not self.stopping and self.failed is None:
            for _ in range(BURST):
                self.send(self.sent % self.partitions, self.sent // self.partitions)
                self.sent += 1
            self.client.poll(0)
            time.sleep(BURST_PAUSE_S)

    def send(self, partition, number):
        def report(error, message):
            if error is not None:
                self.failed = self.failed or ApiError(error.code(), error.str())
                return
            self.acknowledged += 1
            self.ledger.write(f"{partition} {message.offset()} {number}\n")

        while self.failed is None:
            try:
                self.client.produce(self.topic, b"%d" % number, None, partition, on_delivery=report)
                return
            except BufferError:  # the broker is away and the queue is full
                self.client.poll(0.1)

    def count(self):
        if self.failed:
            raise self.failed
        return {"acknowledged": self.acknowledged}

    def stop(self):
        self.stopping = True
        self.writer.join()
        left = self.client.flush(TIMEOUT_S * 2)
        self.ledger.close()
        if self.failed:
            raise self.failed
        if left:
            raise RuntimeError(f"{left} records were never acknowledged")
        return {"sent": self.sent, "acknowledged": self.acknowledged}


soak = {}
admin = AdminClient(BASE)


def create(args):
    one(admin.create_topics([NewTopic(args["topic"], int(args["partitions"]), int(args["replicas"]), config=pairs(args, "config"))]))


def listing(args):
    return {"topics": sorted(admin.list_topics(timeout=TIMEOUT_S).topics)}


def describe(args):
    topic = one(admin.describe_topics(TopicCollection([args["topic"]])))
    entries = one(admin.describe_configs([ConfigResource(ResourceType.TOPIC, args["topic"])]))
    return {"partitions": [{"partition": p.id, "leader": p.leader.id if p.leader else -1, "replicas": [n.id for n in p.replicas],
                            "isr": [n.id for n in p.isr]} for p in topic.partitions],
            "configs": {name: entry.value for name, entry in entries.items()}}


def alter(operation):
    def run(args):
        entries = [ConfigEntry(k, v, incremental_operation=operation) for k, v in pairs(args, "config").items()]
        one(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, args["topic"], incremental_configs=entries)]))
    return run


def grow(args):
    one(admin.create_partitions([NewPartitions(args["topic"], int(args["partitions"]))]))


def purge(args):
    return {"low_watermark": one(admin.delete_records(
        [TopicPartition(args["topic"], int(args["partition"]), int(args["offset"]))])).low_watermark}


def delete(args):
    one(admin.delete_topics([args["topic"]]))


def cluster(args):
    described = admin.describe_cluster().result(TIMEOUT_S)
    return {"cluster": described.cluster_id, "nodes": [f"{n.host}:{n.port}" for n in described.nodes]}


serve({name: checked(verb) for name, verb in {
    "produce": produce, "big": big, "consume": consume, "seek": seek, "times": times, "ends": ends, "dump": dump,
    "soak": lambda args: soak.update(run=Soak(args)), "soak-count": lambda args: soak["run"].count(),
    "soak-stop": lambda args: soak["run"].stop(),
    "create": create, "list": listing, "describe": describe, "alter": alter(AlterConfigOpType.SET),
    "reset": alter(AlterConfigOpType.DELETE), "grow": grow, "purge": purge, "delete": delete, "cluster": cluster}.items()})
os._exit(0)  # the admin client's threads need no farewell
