'use strict'
// kafkajs behind the command interface of docs/clients.md: a line "verb key=value ..." comes in, one line of JSON goes out.

const readline = require('node:readline')
const { Kafka, CompressionTypes, CompressionCodecs, Partitioners, ConfigResourceTypes, logLevel } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const Cluster = require('kafkajs/src/cluster')
const createSocketFactory = require('kafkajs/src/network/socketFactory')
const { createLogger } = require('kafkajs/src/loggers')
const LoggerConsole = require('kafkajs/src/loggers/console')
const InstrumentationEventEmitter = require('kafkajs/src/instrumentation/emitter')
const { Content, grouped, flat, canonical, digest } = require('./content')

CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }
const IDLE_LIMIT_MS = 30_000
const SEND_CHUNK = 2000
const BROKERS = [process.argv[2]]
const kafka = new Kafka({ clientId: 'dohle-kafkajs', brokers: BROKERS, logLevel: logLevel.NOTHING, retry: { retries: 3 } })
const admin = kafka.admin()

const acksOf = args => ({ 0: 0, 1: 1, all: -1 })[args.acks ?? 'all']
const pairs = text => (text ?? '').split(',').filter(Boolean).map(p => [p.slice(0, p.indexOf(':')), p.slice(p.indexOf(':') + 1)])

const hex = crc => crc.toString(16).padStart(8, '0')

async function withProducer(args, work) {
  const producer = kafka.producer({ idempotent: args.idempotent === 'true', createPartitioner: Partitioners.DefaultPartitioner })
  await producer.connect()
  try {
    return await work(producer)
  } finally {
    await producer.disconnect()
  }
}

async function produce(args) {
  const content = new Content(args)
  const [partitions, first, count] = [Number(args.partitions), Number(args.from ?? 0), Number(args.count)]
  const chunk = Math.floor(SEND_CHUNK / partitions) * partitions
  let atOffset = 0
  await withProducer(args, async producer => {
    for (let at = first; at < first + count; at += chunk) {
      const messages = []
      for (let i = at; i < Math.min(at + chunk, first + count); i++) {
        const r = content.at(i)
        messages.push({ ...r, partition: i % partitions, headers: grouped(r.headers) })
      }
      const sent = await producer.send({ topic: args.topic, acks: acksOf(args), compression: CODECS[args.codec ?? 'none'], messages })
      for (const { partition, baseOffset } of sent) {
        // The first index of this chunk that belongs to the partition tells where the broker must have put it.
        const index = at + ((partition - (at % partitions) + partitions) % partitions)
        const members = messages.filter(m => m.partition === partition).length
        if (Number(baseOffset) === Math.floor(index / partitions)) atOffset += members
      }
    }
  })
  return { records: count, at_offset: atOffset }
}

async function big(args) {
  const messages = [{ key: null, value: Buffer.alloc(Number(args.bytes), 'x'), partition: Number(args.partition) }]
  const [sent] = await withProducer(args, producer => producer.send({ topic: args.topic, acks: acksOf(args), messages }))
  return { offset: Number(sent.baseOffset) }
}

/** kafkajs reads only inside groups; its own cluster and fetch code below that door reads by assignment. */
async function withCluster(topic, work) {
  const cluster = new Cluster({
    logger: createLogger({ level: logLevel.NOTHING, logCreator: LoggerConsole }),
    socketFactory: createSocketFactory(),
    instrumentationEmitter: new InstrumentationEventEmitter(),
    brokers: BROKERS,
    clientId: 'dohle-kafkajs',
    connectionTimeout: 5000,
    requestTimeout: IDLE_LIMIT_MS,
    enforceRequestTimeout: true,
    metadataMaxAge: 300_000,
    allowAutoTopicCreation: false,
    retry: { retries: 3 },
    offsets: new Map(),
    isolationLevel: 1,
  })
  await cluster.connect()
  try {
    await cluster.addTargetTopic(topic)
    return await work(cluster)
  } finally {
    await cluster.disconnect()
  }
}

async function fetched(cluster, topic, positions) {
  const byLeader = cluster.findLeaderForPartitions(topic, Object.keys(positions).map(Number))
  const answers = await Promise.all(Object.entries(byLeader).map(async ([nodeId, partitions]) => {
    const broker = await cluster.findBroker({ nodeId })
    const wanted = partitions.map(partition => ({ partition, fetchOffset: String(positions[partition]), maxBytes: 1 << 20 }))
    return broker.fetch({ maxWaitTime: 200, minBytes: 1, maxBytes: 10 << 20, isolationLevel: 1, topics: [{ topic, partitions: wanted }] })
  }))
  return answers.flatMap(a => a.responses.flatMap(r => r.partitions))
}

async function consume(args) {
  const content = new Content(args)
  const [partitions, count, append] = [Number(args.partitions), Number(args.count), args.stamp === 'append']
  const next = Object.fromEntries(Array.from({ length: partitions }, (_, p) => [p, 0]))
  const crcs = Array(partitions).fill(0)
  let seen = 0
  await withCluster(args.topic, async cluster => {
    let idleSince = Date.now()
    while (seen < count) {
      for (const { partition, messages } of await fetched(cluster, args.topic, next)) {
        for (const m of messages.filter(m => Number(m.offset) >= next[partition])) {
          const want = content.at(next[partition] * partitions + partition)
          const got = { timestamp: append ? want.timestamp : m.timestamp, key: m.key, value: m.value, headers: flat(m.headers) }
          const bytes = canonical(m.offset, got)
          const stampType = m.batchContext.timestampType
          if (!bytes.equals(canonical(next[partition], want)) || stampType !== (append ? 1 : 0)) {
            throw new Error(`partition ${partition} offset ${next[partition]} differs: ${JSON.stringify(m)}`)
          }
          crcs[partition] = digest(crcs[partition], bytes)
          next[partition]++
          seen++
          idleSince = Date.now()
        }
      }
      if (Date.now() - idleSince > IDLE_LIMIT_MS) throw new Error(`only ${seen} records came`)
    }
  })
  return { records: seen, crc32: crcs.map(hex) }
}

async function seek(args) {
  return withCluster(args.topic, async cluster => {
    const until = Date.now() + IDLE_LIMIT_MS
    while (Date.now() < until) {
      const [{ messages }] = await fetched(cluster, args.topic, { [args.partition]: args.offset })
      const found = messages.find(m => Number(m.offset) >= Number(args.offset))
      if (found) {
        const [bytes, crc] = [found.value?.length ?? -1, digest(0, found.value ?? Buffer.alloc(0))]
        return { offset: Number(found.offset), timestamp: Number(found.timestamp), bytes, value_crc32: hex(crc) }
      }
    }
    throw new Error('no record came')
  })
}

/** The admin's own look-up puts the end offset where the broker said that there is none, so this asks as it does, one layer lower. */
async function times(args) {
  return withCluster(args.topic, async cluster => {
    const offsets = []
    for (const t of args.timestamps.split(',')) {
      const partitions = [{ partition: Number(args.partition) }]
      const [{ partitions: [found] }] = await cluster.fetchTopicsOffset([{ topic: args.topic, partitions, fromTimestamp: Number(t) }])
      offsets.push(Number(found.offset))
    }
    return { offsets }
  })
}

async function ends(args) {
  const all = await admin.fetchTopicOffsets(args.topic)
  const marks = all.sort((a, b) => a.partition - b.partition).slice(0, Number(args.partitions))
  return { starts: marks.map(m => Number(m.low)), ends: marks.map(m => Number(m.high)) }
}

async function describe({ topic }) {
  const [{ partitions }] = (await admin.fetchTopicMetadata({ topics: [topic] })).topics
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }]
  const [{ configEntries }] = (await admin.describeConfigs({ resources, includeSynonyms: false })).resources
  return {
    partitions: partitions.sort((a, b) => a.partitionId - b.partitionId)
      .map(p => ({ partition: p.partitionId, leader: p.leader, replicas: p.replicas, isr: p.isr })),
    configs: Object.fromEntries(configEntries.map(e => [e.configName, e.configValue])),
  }
}

const verbs = {
  produce, big, consume, seek, times, ends, describe,
  create: async args => {
    const configEntries = pairs(args.config).map(([name, value]) => ({ name, value }))
    const topic = { topic: args.topic, numPartitions: Number(args.partitions), replicationFactor: Number(args.replicas), configEntries }
    // kafkajs answers false, without an error, when the topic exists.
    if (!(await admin.createTopics({ topics: [topic], waitForLeaders: true }))) throw Object.assign(new Error('exists'), { code: 36 })
  },
  list: async () => ({ topics: (await admin.listTopics()).sort() }),
  // kafkajs knows AlterConfigs only, the API that replaces all of a topic's settings.
  alter: async args => {
    const configEntries = pairs(args.config).map(([name, value]) => ({ name, value }))
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: args.topic, configEntries }] })
  },
  reset: async args => {
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: args.topic, configEntries: [] }] })
  },
  grow: async args => {
    await admin.createPartitions({ topicPartitions: [{ topic: args.topic, count: Number(args.partitions) }] })
  },
  purge: async args => {
    await admin.fetchTopicOffsets(args.topic) // deleteTopicRecords looks for leaders only among topics that the admin knows
    await admin.deleteTopicRecords({ topic: args.topic, partitions: [{ partition: Number(args.partition), offset: args.offset }] })
    const marks = await admin.fetchTopicOffsets(args.topic)
    return { low_watermark: Number(marks.find(m => m.partition === Number(args.partition)).low) }
  },
  delete: async args => {
    await admin.deleteTopics({ topics: [args.topic] })
  },
  cluster: async () => {
    const { brokers, clusterId } = await admin.describeCluster()
    return { cluster: clusterId, nodes: brokers.map(b => `${b.host}:${b.port}`) }
  },
}

/** The innermost error with Kafka's code: kafkajs wraps refusals in retry and aggregate errors. */
function codeOf(e) {
  for (let at = e; at; at = at.cause ?? at.originalError ?? at.errors?.[0] ?? at.partitions?.[0]?.error) if (typeof at.code === 'number') return at.code
  return -1000
}

async function main() {
  await admin.connect()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [verb, ...words] = line.trim().split(' ')
    const args = Object.fromEntries(words.map(w => [w.slice(0, w.indexOf('=')), w.slice(w.indexOf('=') + 1)]))
    let reply
    try {
      reply = { ok: true, ...(await verbs[verb](args)) }
    } catch (e) {
      reply = { ok: false, code: codeOf(e), message: String(e.stack ?? e) }
    }
    process.stdout.write(`${JSON.stringify(reply)}\n`)
  }
  process.exit(0)
}

main()
