"""The record that stands at a place, made from a seed alone, and the command loop; docs/clients.md has both rules."""
import json
import struct
import sys
import time
import zlib

POOL = 65536
BASE_TIMESTAMP = 1_700_000_000_000
IDLE_LIMIT_S = 30
MASK = 0xFFFFFFFF


class ApiError(Exception):
    """A refusal that carries Kafka's error code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Content:
    def __init__(self, args):
        self.seed = seed = int(args["seed"])
        self.null_header = None if args.get("header_nulls", "yes") == "yes" else b""
        pool = bytearray()
        x = seed | 1
        for i in range(POOL + 1024):
            x ^= (x << 13) & MASK
            x ^= x >> 17
            x ^= (x << 5) & MASK
            pool.append(x & 0xFF if i < POOL // 2 else 97 + (x >> 28))
        self.pool = bytes(pool)

    def at(self, index):
        """(timestamp, key, value, headers) of the record with this index."""
        h = mix((self.seed + index * 0x9E3779B9) & MASK)
        timestamp = BASE_TIMESTAMP + index * 10 + h % 10
        key = None if h & 7 == 0 else b"" if h & 7 == 1 else b"key-%d" % index
        if h & 63 == 2:
            value = None
        elif h & 63 == 3:
            value = b""
        else:
            start = (h >> 6) & 0xFFFF
            value = b"value-%d-%d-" % (self.seed, index) + self.pool[start:start + ((h >> 22) & 0xFF)]
        return timestamp, key, value, self.headers(index, h)

    def headers(self, index, h):
        kind = (h >> 20) & 3
        if kind == 0:
            return []
        if kind == 1:
            return [("trace", struct.pack(">I", h))]
        if kind == 2:
            return [("dup", b"a%d" % index), ("dup", b"b%d" % index), ("null", self.null_header)]
        start = h % 1000
        return [("empty", b""), ("größe", self.pool[start:start + 8])]


def mix(x):
    x ^= x >> 16
    x = (x * 0x7FEB352D) & MASK
    x ^= x >> 15
    x = (x * 0x846CA68B) & MASK
    return x ^ (x >> 16)


def sized(b):
    return b"\xff\xff\xff\xff" if b is None else struct.pack(">i", len(b)) + b


class Comparison:
    """Checks what a consumer receives against the seed, in the order of each partition, and digests it."""

    def __init__(self, args):
        self.content = Content(args)
        self.partitions = int(args["partitions"])
        self.wanted = int(args["count"])
        self.next = [0] * self.partitions
        self.crc = [0] * self.partitions
        self.seen = 0
        self.idle_since = time.monotonic()

    def done(self):
        if time.monotonic() - self.idle_since > IDLE_LIMIT_S:
            raise RuntimeError(f"only {self.seen} records came")
        return self.seen >= self.wanted

    def take(self, partition, offset, got):
        want = self.content.at(self.next[partition] * self.partitions + partition)
        if offset != self.next[partition] or got != want:
            raise RuntimeError(f"partition {partition} offset {self.next[partition]} differs: {offset} {got} is not {want}")
        timestamp, key, value, headers = got
        parts = [struct.pack(">qq", offset, timestamp), sized(key), sized(value), struct.pack(">i", len(headers))]
        for k, v in headers:
            parts += [sized(k.encode()), sized(v)]
        self.crc[partition] = zlib.crc32(b"".join(parts), self.crc[partition])
        self.next[partition] += 1
        self.seen += 1
        self.idle_since = time.monotonic()

    def reply(self):
        return {"records": self.seen, "crc32": ["%08x" % c for c in self.crc]}


def found(offset, timestamp, value):
    """The reply to a seek."""
    size = -1 if value is None else len(value)
    return {"offset": offset, "timestamp": timestamp, "bytes": size, "value_crc32": "%08x" % zlib.crc32(value or b"")}


def pairs(args, key):
    """'a:1,b:2' as a dict."""
    return dict(p.split(":", 1) for p in args.get(key, "").split(",") if p)


def serve(verbs):
    """Answers each line 'verb key=value ...' with one line of JSON until the input ends."""
    for line in sys.stdin:
        verb, *words = line.split()
        args = dict(w.split("=", 1) for w in words)
        try:
            reply = {"ok": True, **(verbs[verb](args) or {})}
        except ApiError as e:
            reply = {"ok": False, "code": e.code, "message": str(e)}
        except Exception as e:  # a bug of ours or of the client: reported, and red in the suite
            reply = {"ok": False, "code": -1000, "message": repr(e)}
        print(json.dumps(reply), flush=True)
