"""librdkafka, idempotent, writes one number after the other to a partition, whatever happens to it; told what to do line by line."""
import json
import sys
import threading
import time

from confluent_kafka import Producer

OUTSTANDING = 10
PAUSE_S = 0.005
TIMEOUT_S = 60


class Steady:
    def __init__(self, base, topic, partition):
        # Every record is tried until it is stored; the order is kept, and none is stored twice.
        self.producer = Producer({**base, "enable.idempotence": True, "linger.ms": 0, "message.timeout.ms": 120_000,
                                  "retry.backoff.ms": 50, "retry.backoff.max.ms": 200, "topic.metadata.refresh.interval.ms": 500})
        self.topic, self.partition, self.size = topic, partition, 20_000
        self.next, self.acknowledged, self.failed = 0, [], []
        self.going = True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def told(self, number, error):
        self.failed.append([number, str(error)]) if error else self.acknowledged.append(number)

    def run(self):
        while self.going:
            self.producer.poll(PAUSE_S)
            if self.next - len(self.acknowledged) - len(self.failed) >= OUTSTANDING:
                continue
            number, self.next = self.next, self.next + 1
            value = number.to_bytes(8, "big").ljust(self.size, b"-")
            self.producer.produce(self.topic, value, partition=self.partition,
                                  on_delivery=lambda error, _, number=number: self.told(number, error))
            time.sleep(PAUSE_S)

    def end(self):
        self.going = False
        self.thread.join()
        left = self.producer.flush(TIMEOUT_S)
        in_order = self.acknowledged == list(range(len(self.acknowledged)))
        return {"acknowledged": len(self.acknowledged), "in_order": in_order, "failed": self.failed, "left": left}


if __name__ == "__main__":
    bootstrap, topic, partition = sys.argv[1:4]
    base = {"bootstrap.servers": bootstrap, "broker.address.family": "v4", "log_level": 0}
    steady = Steady(base, topic, int(partition))
    for line in sys.stdin:
        words = line.split()
        if words[0] == "small":
            steady.size = 100
        if words[0] == "end":
            print(json.dumps(steady.end()), flush=True)
            break
        print(len(steady.acknowledged), flush=True)
