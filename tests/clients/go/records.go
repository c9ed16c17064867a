package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const idleLimit = 30 * time.Second

// recordVerbs are the verbs that work on records: produce, big, consume, seek, times, ends, dump.
type recordVerbs struct {
	bootstrap string
}

func (r *recordVerbs) verbs() map[string]func(command) (reply, error) {
	return map[string]func(command) (reply, error){
		"produce": r.produce, "big": r.big, "consume": r.consume, "seek": r.seek, "times": r.times, "ends": r.ends, "dump": r.dump,
	}
}

func (r *recordVerbs) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(r.bootstrap), kgo.ClientID("dohle-franz-go"))...)
}

func (r *recordVerbs) producer(c command) (*kgo.Client, error) {
	acks := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}[c.text("acks", "all")]
	codec := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}[c.text("codec", "none")]
	opts := []kgo.Opt{kgo.RequiredAcks(acks), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5 * time.Millisecond)}
	if c.verb == "big" {
		opts = append(opts, kgo.ProducerBatchMaxBytes(16_000_000)) // the broker shall be the one that refuses
	}
	if c.text("idempotent", "false") != "true" {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(5))
	}
	return r.client(opts...)
}

func (r *recordVerbs) produce(c command) (reply, error) {
	client, err := r.producer(c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	content, partitions, from, count := newContent(c), c.number("partitions"), c.number("from"), c.number("count")
	var lock sync.Mutex
	var failed error
	atOffset := int64(0)
	for i := from; i < from+count; i++ {
		one := content.at(i)
		record := &kgo.Record{Topic: c.text("topic", ""), Partition: int32(i % partitions), Key: one.key, Value: one.value,
			Headers: one.headers, Timestamp: time.UnixMilli(one.timestamp)}
		client.Produce(context.Background(), record, func(sent *kgo.Record, err error) {
			lock.Lock()
			defer lock.Unlock()
			if err != nil {
				failed = err
			} else if sent.Offset == i/partitions {
				atOffset++
			}
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		return nil, err
	}
	return reply{"records": count, "at_offset": atOffset}, failed
}

func (r *recordVerbs) big(c command) (reply, error) {
	client, err := r.producer(c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	record := &kgo.Record{Topic: c.text("topic", ""), Partition: int32(c.number("partition")), Value: bytes.Repeat([]byte("x"), int(c.number("bytes")))}
	sent, err := client.ProduceSync(context.Background(), record).First()
	if err != nil {
		return nil, err
	}
	return reply{"offset": sent.Offset}, nil
}

func (r *recordVerbs) assigned(c command, partitions []int32, offset kgo.Offset) (*kgo.Client, error) {
	at := map[int32]kgo.Offset{}
	for _, p := range partitions {
		at[p] = offset
	}
	return r.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.text("topic", ""): at}), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
}

func firstPartitions(n int64) []int32 {
	out := make([]int32, n)
	for p := range out {
		out[p] = int32(p)
	}
	return out
}

// each hands over records until take has had enough, an error comes, or nothing has come for too long.
func each(client *kgo.Client, take func(*kgo.Record) (enough bool, err error)) error {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), idleLimit)
		fetches := client.PollFetches(ctx)
		cancel()
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, got := range fetches.Records() {
			if enough, err := take(got); enough || err != nil {
				return err
			}
		}
	}
}

func (r *recordVerbs) consume(c command) (reply, error) {
	content, partitions, count := newContent(c), c.number("partitions"), c.number("count")
	wantType, appendTime := int8(0), c.text("stamp", "create") == "append"
	if appendTime {
		wantType = 1
	}
	client, err := r.assigned(c, firstPartitions(partitions), kgo.NewOffset().AtStart())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	crcs, next, seen := make([]uint32, partitions), make([]int64, partitions), int64(0)
	err = each(client, func(got *kgo.Record) (bool, error) {
		p := int64(got.Partition)
		want := content.at(next[p]*partitions + p)
		r := record{got.Timestamp.UnixMilli(), got.Key, got.Value, got.Headers}
		if appendTime {
			r.timestamp = want.timestamp
		}
		if got.Offset != next[p] || got.Attrs.TimestampType() != wantType || !r.equal(want) {
			return false, fmt.Errorf("partition %d offset %d differs: %+v is not %+v", p, next[p], got, want)
		}
		crcs[p] = digest(crcs[p], got.Offset, r)
		next[p]++
		seen++
		return seen == count, nil
	})
	out := []string{}
	for _, crc := range crcs {
		out = append(out, fmt.Sprintf("%08x", crc))
	}
	return reply{"records": seen, "crc32": out}, err
}

func (r *recordVerbs) seek(c command) (reply, error) {
	client, err := r.assigned(c, []int32{int32(c.number("partition"))}, kgo.NewOffset().At(c.number("offset")))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var answer reply
	err = each(client, func(got *kgo.Record) (bool, error) {
		size := len(got.Value)
		if got.Value == nil {
			size = -1
		}
		answer = reply{"offset": got.Offset, "timestamp": got.Timestamp.UnixMilli(), "bytes": size,
			"value_crc32": fmt.Sprintf("%08x", crc32.ChecksumIEEE(got.Value))}
		return true, nil
	})
	return answer, err
}

func (r *recordVerbs) times(c command) (reply, error) {
	offsets := []int64{}
	for t := range strings.SplitSeq(c.text("timestamps", ""), ",") {
		millis, err := strconv.ParseInt(t, 10, 64)
		if err != nil {
			return nil, err
		}
		at, err := r.listed(c, func(ctx context.Context, admin *kadm.Client, topic string) (kadm.ListedOffsets, error) {
			return admin.ListOffsetsAfterMilli(ctx, millis, topic)
		})
		if err != nil {
			return nil, err
		}
		one := at[c.number("partition")]
		if one.Timestamp < 0 { // kadm puts the end offset where the broker said that there is none
			one.Offset = -1
		}
		offsets = append(offsets, one.Offset)
	}
	return reply{"offsets": offsets}, nil
}

func (r *recordVerbs) listed(c command, list func(context.Context, *kadm.Client, string) (kadm.ListedOffsets, error)) ([]kadm.ListedOffset, error) {
	client, err := r.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), idleLimit)
	defer cancel()
	found, err := list(ctx, kadm.NewClient(client), c.text("topic", ""))
	if err != nil {
		return nil, err
	}
	out := make([]kadm.ListedOffset, len(found[c.text("topic", "")]))
	for p, one := range found[c.text("topic", "")] {
		out[p] = one
	}
	return out, found.Error()
}

func (r *recordVerbs) ends(c command) (reply, error) {
	first, err := r.listed(c, func(ctx context.Context, a *kadm.Client, topic string) (kadm.ListedOffsets, error) {
		return a.ListStartOffsets(ctx, topic)
	})
	if err != nil {
		return nil, err
	}
	last, err := r.listed(c, func(ctx context.Context, a *kadm.Client, topic string) (kadm.ListedOffsets, error) {
		return a.ListEndOffsets(ctx, topic)
	})
	if err != nil {
		return nil, err
	}
	starts, ends := []int64{}, []int64{}
	for p := range c.number("partitions") {
		starts, ends = append(starts, first[p].Offset), append(ends, last[p].Offset)
	}
	return reply{"starts": starts, "ends": ends}, nil
}

// dump writes "partition offset value" of everything up to the end offsets of this moment.
func (r *recordVerbs) dump(c command) (answer reply, err error) {
	marks, err := r.ends(c)
	if err != nil {
		return nil, err
	}
	left := int64(0)
	for p, end := range marks["ends"].([]int64) {
		left += end - marks["starts"].([]int64)[p]
	}
	client, err := r.assigned(c, firstPartitions(c.number("partitions")), kgo.NewOffset().AtStart())
	if err != nil {
		return nil, err
	}
	defer client.Close()
	file, err := os.Create(c.text("file", ""))
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriter(file)
	defer func() { err = errors.Join(err, out.Flush(), file.Close()) }()
	lines := int64(0)
	if left > 0 {
		err = each(client, func(got *kgo.Record) (bool, error) {
			fmt.Fprintf(out, "%d %d %s\n", got.Partition, got.Offset, got.Value)
			lines++
			return lines == left, nil
		})
	}
	return reply{"records": lines}, err
}
