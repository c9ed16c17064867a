package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	pollLimit   = 100 * time.Millisecond
	commitLimit = 60 * time.Second
)

type place struct {
	topic     string
	partition int32
}

// member reads, writes down, commits in step, until it is asked to leave.
type member struct {
	client  *kgo.Client
	out     *bufio.Writer
	pending map[place]int64 // delivered, and not known to be committed
	leaving atomic.Bool
	gone    chan struct{}
}

// serveMembers answers the verbs of members: join, leave, committed.
func serveMembers(bootstrap string) {
	members := map[string]*member{}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		c := parse(in.Text())
		answer := reply{"ok": true}
		var err error
		switch c.verb {
		case "hello":
		case "join":
			members[c.text("member", "")], err = join(bootstrap, c)
		case "leave":
			one := members[c.text("member", "")]
			one.leaving.Store(true)
			<-one.gone
		case "committed":
			answer["offsets"], err = committed(bootstrap, c.text("group", ""))
		default:
			err = fmt.Errorf("no verb %s", c.verb)
		}
		if err != nil {
			answer = reply{"ok": false, "code": -1000, "message": err.Error()}
		}
		line, _ := json.Marshal(answer)
		fmt.Println(string(line))
	}
}

func committed(bootstrap, group string) (map[string]int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), commitLimit)
	defer cancel()
	fetched, err := kadm.NewClient(client).FetchOffsets(ctx, group)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	fetched.Each(func(o kadm.OffsetResponse) { out[fmt.Sprintf("%s/%d", o.Topic, o.Partition)] = o.At })
	return out, fetched.Error()
}

func join(bootstrap string, c command) (*member, error) {
	file, err := os.OpenFile(c.text("ledger", ""), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	m := &member{out: bufio.NewWriter(file), pending: map[place]int64{}, gone: make(chan struct{})}
	opts := []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.ClientID(c.text("member", "")), kgo.ConsumerGroup(c.text("group", "")),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(100 * time.Millisecond), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.partitions("A", p) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.revoked(p) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
			m.forget(p)
			m.partitions("L", p)
		}),
	}
	if c.text("protocol", "") == "consumer" {
		balancer := map[string]kgo.GroupBalancer{"uniform": kgo.StickyBalancer(), "range": kgo.RangeBalancer()}[c.text("assignor", "")]
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(balancer))
	} else {
		balancer := map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
			"sticky": kgo.StickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer()}[c.text("assignor", "")]
		opts = append(opts, kgo.Balancers(balancer), kgo.SessionTimeout(time.Duration(c.number("session_ms"))*time.Millisecond),
			kgo.HeartbeatInterval(500*time.Millisecond))
	}
	if instance := c.text("instance", ""); instance != "" {
		opts = append(opts, kgo.InstanceID(instance))
	}
	if pattern := c.text("pattern", ""); pattern != "" {
		opts = append(opts, kgo.ConsumeTopics(pattern), kgo.ConsumeRegex())
	} else {
		opts = append(opts, kgo.ConsumeTopics(c.text("topic", "")))
	}
	if m.client, err = kgo.NewClient(opts...); err != nil {
		return nil, err
	}
	go m.run()
	return m, nil
}

// run polls; while a poll's records are not yet committed, no callback of a rebalance runs.
func (m *member) run() {
	defer close(m.gone)
	for !m.leaving.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), pollLimit)
		fetches := m.client.PollFetches(ctx)
		cancel()
		fetches.EachRecord(func(r *kgo.Record) {
			fmt.Fprintf(m.out, "D %s/%d %d %08x\n", r.Topic, r.Partition, r.Offset, crc32.ChecksumIEEE(r.Value))
			m.pending[place{r.Topic, r.Partition}] = r.Offset + 1
		})
		m.commit(m.pending)
		m.client.AllowRebalance()
	}
	m.client.CloseAllowingRebalance()
	m.said("Q", "left")
}

func (m *member) commit(offsets map[place]int64) {
	if len(offsets) == 0 {
		return
	}
	var line strings.Builder
	wanted := map[string]map[int32]kgo.EpochOffset{}
	for p, offset := range offsets {
		fmt.Fprintf(&line, " %s/%d=%d", p.topic, p.partition, offset)
		if wanted[p.topic] == nil {
			wanted[p.topic] = map[int32]kgo.EpochOffset{}
		}
		wanted[p.topic][p.partition] = kgo.EpochOffset{Epoch: -1, Offset: offset}
	}
	m.said("T", strings.TrimSpace(line.String()))
	ctx, cancel := context.WithTimeout(context.Background(), commitLimit)
	defer cancel()
	if err := m.commitSync(ctx, wanted); err != nil { // a rebalance is under way: what is still held after it is committed then
		m.said("X", err.Error())
		return
	}
	m.said("C", strings.TrimSpace(line.String()))
	for p := range offsets {
		delete(m.pending, p)
	}
}

func (m *member) commitSync(ctx context.Context, wanted map[string]map[int32]kgo.EpochOffset) error {
	var refused error
	m.client.CommitOffsetsSync(ctx, wanted, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
		refused = err
		if err != nil {
			return
		}
		for _, topic := range response.Topics {
			for _, partition := range topic.Partitions {
				if e := kerr.ErrorForCode(partition.ErrorCode); e != nil {
					refused = e
				}
			}
		}
	})
	return refused
}

func (m *member) revoked(partitions map[string][]int32) {
	last := map[place]int64{}
	for topic, numbers := range partitions {
		for _, number := range numbers {
			if offset, found := m.pending[place{topic, number}]; found {
				last[place{topic, number}] = offset
			}
		}
	}
	m.commit(last)
	m.forget(partitions)
	m.partitions("R", partitions)
}

func (m *member) forget(partitions map[string][]int32) {
	for topic, numbers := range partitions {
		for _, number := range numbers {
			delete(m.pending, place{topic, number})
		}
	}
}

func (m *member) partitions(kind string, partitions map[string][]int32) {
	var names []string
	for topic, numbers := range partitions {
		for _, number := range numbers {
			names = append(names, fmt.Sprintf("%s/%d", topic, number))
		}
	}
	m.said(kind, strings.Join(names, " "))
}

func (m *member) said(kind, what string) {
	fmt.Fprintf(m.out, "%s %d %s\n", kind, time.Now().UnixMicro(), strings.ReplaceAll(what, "\n", " "))
	m.out.Flush()
}
