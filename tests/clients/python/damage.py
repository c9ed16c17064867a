"""librdkafka against a log with a damaged batch: what was read, and where it was told that it cannot be."""
import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BATCH = 10
TIMEOUT_S = 30


def value(number):
    return (f"{number:08d}-" * 250).encode()


def fill(base, topic, records):
    admin = AdminClient(base)
    (created,) = admin.create_topics([NewTopic(topic, 1, 1, config={"segment.bytes": "1048576"})]).values()
    created.result(TIMEOUT_S)
    producer = Producer({**base, "acks": "all", "linger.ms": 1000, "batch.num.messages": BATCH})
    failed = []
    for number in range(records):
        producer.produce(topic, value(number), partition=0, on_delivery=lambda error, _: error and failed.append(str(error)))
        if number % BATCH == BATCH - 1:
            producer.flush(TIMEOUT_S)
    print(json.dumps({"failed": failed}))


def read(base, topic, records):
    """Reads from the beginning; at an error seeks past what cannot be read, record by record as a person would."""
    consumer = Consumer({**base, "group.id": "damage", "enable.auto.commit": False, "fetch.error.backoff.ms": 20})
    at, wrong, errors = 0, [], {}
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    until = time.monotonic() + 2 * TIMEOUT_S
    while at < records and time.monotonic() < until:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            if message.offset() != at:
                continue  # of before the last seek
            errors[at] = message.error().code()
            at += 1
            consumer.seek(TopicPartition(topic, 0, at))
        elif message.offset() >= at:
            if message.offset() > at or message.value() != value(at):
                wrong.append([at, message.offset()])
            at = message.offset() + 1
    consumer.close()
    print(json.dumps({"end": at, "wrong": wrong, "errors": errors}))


if __name__ == "__main__":
    verb, bootstrap, topic, records = sys.argv[1:5]
    base = {"bootstrap.servers": bootstrap, "broker.address.family": "v4", "log_level": 0}
    {"fill": fill, "read": read}[verb](base, topic, int(records))
