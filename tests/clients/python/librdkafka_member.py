"""librdkafka, by its Python binding, as members of groups."""
import os
import sys

from confluent_kafka import Consumer, KafkaException, TopicPartition

from member import Member, serve

BASE = {"bootstrap.servers": sys.argv[1], "broker.address.family": "v4", "log_level": 0, "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "check.crcs": True, "topic.metadata.refresh.interval.ms": 1000,
        "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "fetch.wait.max.ms": 100}


class Librdkafka(Member):
    refusal = KafkaException

    def open(self):
        args = self.args
        config = {**BASE, "client.id": args["member"], "group.id": args["group"]}
        if "instance" in args:
            config["group.instance.id"] = args["instance"]
        if args["protocol"] == "consumer":
            config |= {"group.protocol": "consumer", "group.remote.assignor": args["assignor"]}
        else:
            config |= {"session.timeout.ms": int(args["session_ms"]), "heartbeat.interval.ms": 500,
                       "partition.assignment.strategy": args["assignor"]}
        self.consumer = Consumer(config)

        def told(what):
            return lambda _, partitions: what([(p.topic, p.partition) for p in partitions])

        # A pattern is known by its first character; the broker resolves it in the consumer protocol.
        self.consumer.subscribe([args.get("pattern") or args["topic"]], on_assign=told(self.assigned),
                                on_revoke=told(self.revoked), on_lost=told(self.lost))

    def poll(self):
        for message in self.consumer.consume(500, 0.1):
            if message.error() is None:
                yield message.topic(), message.partition(), message.offset(), message.value()
            elif not message.error().retriable() and message.error().fatal():
                raise KafkaException(message.error())

    def send_commit(self, offsets):
        wanted = [TopicPartition(t, p, o) for (t, p), o in offsets.items()]
        for result in self.consumer.commit(offsets=wanted, asynchronous=False):
            if result.error:
                raise KafkaException(result.error)

    def close(self):
        self.consumer.close()


serve(Librdkafka)
os._exit(0)
