'use strict'
// The record that stands at a place, made from a seed alone; docs/clients.md has the rule that every client follows.

const zlib = require('node:zlib')

const POOL = 65536
const BASE_TIMESTAMP = 1_700_000_000_000

class Content {
  constructor(args) {
    this.seed = Number(args.seed) >>> 0
    this.nullHeader = (args.header_nulls ?? 'yes') === 'yes' ? null : Buffer.alloc(0)
    this.pool = Buffer.alloc(POOL + 1024)
    let x = (this.seed | 1) >>> 0
    for (let i = 0; i < this.pool.length; i++) {
      x ^= x << 13
      x ^= x >>> 17
      x ^= x << 5
      this.pool[i] = i < POOL / 2 ? x & 0xff : 97 + (x >>> 28)
    }
  }

  at(index) {
    const h = mix((this.seed + Math.imul(index, 0x9e3779b9)) >>> 0)
    return {
      timestamp: String(BASE_TIMESTAMP + index * 10 + (h % 10)),
      key: (h & 7) === 0 ? null : (h & 7) === 1 ? Buffer.alloc(0) : Buffer.from(`key-${index}`),
      value: (h & 63) === 2 ? null : (h & 63) === 3 ? Buffer.alloc(0) : this.value(index, h),
      headers: this.headers(index, h),
    }
  }

  value(index, h) {
    const from = (h >>> 6) & 0xffff
    return Buffer.concat([Buffer.from(`value-${this.seed}-${index}-`), this.pool.subarray(from, from + ((h >>> 22) & 0xff))])
  }

  /** As [key, value] pairs; kafkajs wants an object, which grouped() makes. */
  headers(index, h) {
    const trace = Buffer.alloc(4)
    trace.writeUInt32BE(h)
    const from = h % 1000
    return [
      [],
      [['trace', trace]],
      [['dup', Buffer.from(`a${index}`)], ['dup', Buffer.from(`b${index}`)], ['null', this.nullHeader]],
      [['empty', Buffer.alloc(0)], ['größe', this.pool.subarray(from, from + 8)]],
    ][(h >>> 20) & 3]
  }
}

function mix(x) {
  x ^= x >>> 16
  x = Math.imul(x, 0x7feb352d)
  x ^= x >>> 15
  x = Math.imul(x, 0x846ca68b)
  x ^= x >>> 16
  return x >>> 0
}

function grouped(pairs) {
  const out = {}
  for (const [key, value] of pairs) out[key] = key in out ? [].concat(out[key], [value]) : value
  return out
}

function flat(headers) {
  return Object.entries(headers).flatMap(([key, value]) => (Array.isArray(value) ? value.map(v => [key, v]) : [[key, value]]))
}

/** One record as bytes: everything that the broker must give back, lengths included. */
function canonical(offset, r) {
  const head = Buffer.alloc(16)
  head.writeBigInt64BE(BigInt(offset), 0)
  head.writeBigInt64BE(BigInt(r.timestamp), 8)
  const fields = r.headers.flatMap(([key, value]) => [...sized(Buffer.from(key)), ...sized(value)])
  return Buffer.concat([head, ...sized(r.key), ...sized(r.value), int(r.headers.length), ...fields])
}

function digest(crc, bytes) {
  return zlib.crc32(bytes, crc)
}

function sized(b) {
  return b === null ? [int(-1)] : [int(b.length), b]
}

function int(n) {
  const b = Buffer.alloc(4)
  b.writeInt32BE(n)
  return b
}

module.exports = { Content, grouped, flat, canonical, digest }
