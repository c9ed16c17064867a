"""A member of a group on a thread of its own and its ledger, whatever the library; docs/clients.md has the rules of both."""
import json
import sys
import threading
import time
import zlib


class Ledger:
    """What one member saw and did, a line each; with the system before anything is committed."""

    def __init__(self, path):
        self.out = open(path, "a", encoding="utf-8")
        self.lock = threading.Lock()

    def partitions(self, kind, partitions):
        self.write(kind, time.time_ns() // 1000, *(f"{t}/{p}" for t, p in partitions))

    def offsets(self, kind, offsets):
        self.write(kind, time.time_ns() // 1000, *(f"{t}/{p}={o}" for (t, p), o in offsets.items()))

    def said(self, kind, what):
        self.write(kind, time.time_ns() // 1000, *repr(what).split())

    def delivered(self, topic, partition, offset, value):
        self.write("D", f"{topic}/{partition}", offset, f"{zlib.crc32(value or b''):08x}", flush=False)

    def write(self, *words, flush=True):
        with self.lock:
            self.out.write(" ".join(map(str, words)) + "\n")
            if flush:
                self.out.flush()


class Member:
    """Reads, writes down, commits in step, until it is asked to leave. A library adds `poll`, `send_commit` and `close`."""

    def __init__(self, args):
        self.args = args
        self.ledger = Ledger(args["ledger"])
        self.pending = {}  # delivered, and not known to be committed
        self.leaving = False
        self.open()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.leaving:
                for topic, partition, offset, value in self.poll():
                    self.ledger.delivered(topic, partition, offset, value)
                    self.pending[topic, partition] = offset + 1
                self.commit(dict(self.pending))
            self.close()
            self.ledger.said("Q", "left")
        except Exception as e:
            self.ledger.said("E", e)

    def commit(self, offsets):
        if not offsets:
            return
        self.ledger.offsets("T", offsets)
        try:
            self.send_commit(offsets)
        except self.refusal as e:  # a rebalance is under way: what is still held after it is committed then
            self.ledger.said("X", e)
            return
        self.ledger.offsets("C", offsets)
        for partition in offsets:
            self.pending.pop(partition, None)

    def assigned(self, partitions):
        self.ledger.partitions("A", partitions)

    def revoked(self, partitions):
        self.commit({p: o for p, o in self.pending.items() if p in set(partitions)})
        self.forget(partitions)
        self.ledger.partitions("R", partitions)

    def lost(self, partitions):
        self.forget(partitions)
        self.ledger.partitions("L", partitions)

    def forget(self, partitions):
        for partition in partitions:
            self.pending.pop(partition, None)

    def leave(self):
        self.leaving = True
        self.thread.join()


def serve(kind):
    """Answers each line 'verb key=value ...' with one line of JSON until the input ends."""
    members = {}
    for line in sys.stdin:
        verb, *words = line.split()
        args = dict(w.split("=", 1) for w in words)
        try:
            if verb == "join":
                members[args["member"]] = kind(args)
            elif verb == "leave":
                members.pop(args["member"]).leave()
            elif verb != "hello":
                raise ValueError(f"no verb {verb}")
            reply = {"ok": True}
        except Exception as e:
            reply = {"ok": False, "code": -1000, "message": repr(e)}
        print(json.dumps(reply), flush=True)
