"""Produces so many records through librdkafka and reads them back; prints one line. Arguments: address, topic, records, size."""

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

address, topic, records, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
value = bytes(i % 251 for i in range(size))
failures = []


def delivered(error, _message):
    if error is not None:
        failures.append(str(error))


producer = Producer({
    "bootstrap.servers": address,
    "acks": "all",
    "batch.size": 65536,
    "linger.ms": 5,
    "queue.buffering.max.kbytes": 262144,
    "on_delivery": delivered,
})
partitions = producer.list_topics(topic, 30).topics[topic].partitions
reader = Consumer({"bootstrap.servers": address, "group.id": "bench", "enable.auto.commit": False})
ends = {p: reader.get_watermark_offsets(TopicPartition(topic, p), 30)[1] for p in partitions}

start = time.monotonic()
for _ in range(records):
    while True:
        try:
            producer.produce(topic, value)
            break
        except BufferError:
            producer.poll(0.01)
    producer.poll(0)
left = producer.flush(120)
produced = time.monotonic() - start
if left or failures:
    sys.exit(f"{left} records were not sent, {len(failures)} failed: {failures[:1]}")

reader.assign([TopicPartition(topic, p, ends[p]) for p in partitions])
start = time.monotonic()
read = 0
while read < records and time.monotonic() - start < 120:
    for message in reader.consume(10000, 1.0):
        if message.error() is not None:
            sys.exit(str(message.error()))
        read += len(message.value()) == size
consumed = time.monotonic() - start
if read != records:
    sys.exit(f"{read} of {records} records came back")
megabytes = records * size / 1e6
print(f"produced {megabytes / produced:.1f} MB/s, {records / produced:.0f} records/s; "
      f"consumed {megabytes / consumed:.1f} MB/s, {records / consumed:.0f} records/s")
