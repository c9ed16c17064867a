'use strict'
// kafkajs as members of groups. A group lives through a callback per batch; what it is asked to do between is told by events.

const fs = require('node:fs')
const readline = require('node:readline')
const zlib = require('node:zlib')
const { Kafka, logLevel, AssignerProtocol } = require('kafkajs')

const SETTLE_MS = 5
const kafka = new Kafka({
  clientId: 'dohle-kafkajs', brokers: [process.argv[2]], logLevel: logLevel.NOTHING, requestTimeout: 15_000,
  retry: { retries: 100, initialRetryTime: 50, maxRetryTime: 300 },
})
const micros = () => BigInt(Date.now()) * 1000n
const pause = ms => new Promise(done => setTimeout(done, ms))

/** Deals the partitions out in turn under the name that other clients' round robin has. */
const roundRobin = ({ cluster }) => ({
  name: 'roundrobin',
  version: 0,
  async assign({ members, topics }) {
    const ids = members.map(m => m.memberId).sort()
    const dealt = new Map(ids.map(id => [id, {}]))
    const all = topics.flatMap(topic => cluster.findTopicPartitionMetadata(topic).map(p => [topic, p.partitionId]))
    all.sort(([a, p], [b, q]) => a.localeCompare(b) || p - q)
    all.forEach(([topic, partition], i) => (dealt.get(ids[i % ids.length])[topic] ??= []).push(partition))
    return ids.map(memberId => ({
      memberId, memberAssignment: AssignerProtocol.MemberAssignment.encode({ version: 0, assignment: dealt.get(memberId), userData: Buffer.alloc(0) }),
    }))
  },
  protocol: ({ topics }) => ({
    name: 'roundrobin', metadata: AssignerProtocol.MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) }),
  }),
})

class Member {
  constructor(args) {
    this.args = args
    this.out = fs.openSync(args.ledger, 'a')
    this.held = []
    this.busy = false
    this.leaving = false
  }

  write(...words) {
    fs.writeSync(this.out, words.join(' ') + '\n')
  }

  async join() {
    const { args } = this
    this.consumer = kafka.consumer({
      groupId: args.group, sessionTimeout: Number(args.session_ms), heartbeatInterval: 500, rebalanceTimeout: 60_000,
      partitionAssigners: [roundRobin], metadataMaxAge: 1000, maxWaitTimeInMs: 100,
    })
    this.consumer.on('consumer.group_join', ({ payload }) => {
      this.release()
      this.held = Object.entries(payload.memberAssignment).flatMap(([topic, ps]) => ps.map(p => `${topic}/${p}`))
      this.write('A', micros(), ...this.held)
    })
    this.consumer.on('consumer.rebalancing', () => this.release())
    this.consumer.on('consumer.crash', ({ payload }) => {
      this.write(payload.restart ? 'X' : 'E', micros(), String(payload.error).replaceAll('\n', ' '))
      if (payload.restart) this.release()
    })
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [args.pattern ? new RegExp(args.pattern) : args.topic], fromBeginning: true })
    await this.consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: batch => this.take(batch),
    })
  }

  release() {
    if (this.held.length > 0) this.write('R', micros(), ...this.held)
    this.held = []
  }

  async take({ batch, resolveOffset, commitOffsetsIfNecessary }) {
    if (this.leaving) return
    this.busy = true
    try {
      const lines = batch.messages.map(m => `D ${batch.topic}/${batch.partition} ${m.offset} ${hex(zlib.crc32(m.value ?? ''))}`)
      fs.writeSync(this.out, lines.join('\n') + '\n')
      const next = String(Number(batch.lastOffset()) + 1)
      const what = `${batch.topic}/${batch.partition}=${next}`
      this.write('T', micros(), what)
      try {
        await commitOffsetsIfNecessary({ topics: [{ topic: batch.topic, partitions: [{ partition: batch.partition, offset: next }] }] })
      } catch (refused) {
        this.write('X', micros(), String(refused).replaceAll('\n', ' '))
        throw refused // the library joins anew when it knows what it means
      }
      this.write('C', micros(), what)
      resolveOffset(batch.lastOffset())
    } finally {
      this.busy = false
    }
  }

  async leave() {
    this.leaving = true
    while (this.busy) await pause(SETTLE_MS)
    this.release()
    await this.consumer.disconnect()
    this.write('Q', micros(), 'left')
  }
}

const hex = crc => crc.toString(16).padStart(8, '0')
const members = new Map()

async function run(verb, args) {
  if (verb === 'join') {
    const member = new Member(args)
    members.set(args.member, member)
    member.join().catch(e => member.write('E', micros(), String(e).replaceAll('\n', ' ')))
  } else if (verb === 'leave') {
    await members.get(args.member).leave()
    members.delete(args.member)
  } else if (verb !== 'hello') {
    throw new Error(`no verb ${verb}`)
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [verb, ...words] = line.trim().split(' ')
    const args = Object.fromEntries(words.map(w => [w.slice(0, w.indexOf('=')), w.slice(w.indexOf('=') + 1)]))
    let reply = { ok: true }
    try {
      await run(verb, args)
    } catch (e) {
      reply = { ok: false, code: -1000, message: String(e) }
    }
    console.log(JSON.stringify(reply))
  }
  process.exit(0)
}

main()
