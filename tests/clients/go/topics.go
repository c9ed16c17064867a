package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// topicVerbs are the verbs that work on topics: create, list, describe, alter, reset, grow, purge, delete, cluster.
type topicVerbs struct {
	admin *kadm.Client
}

func newTopics(bootstrap string) *topicVerbs {
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(bootstrap), kgo.ClientID("dohle-franz-go"))
	if err != nil {
		panic(err)
	}
	return &topicVerbs{admin}
}

func (t *topicVerbs) run(c command) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), idleLimit)
	defer cancel()
	topic := c.text("topic", "")
	switch c.verb {
	case "create":
		configs := map[string]*string{}
		for _, pair := range c.pairs("config") {
			configs[pair[0]] = &pair[1]
		}
		_, err := t.admin.CreateTopic(ctx, int32(c.number("partitions")), int16(c.number("replicas")), configs, topic)
		return reply{}, err
	case "list":
		found, err := t.admin.ListTopics(ctx)
		return reply{"topics": found.Names()}, err
	case "describe":
		return t.describe(ctx, topic)
	case "alter":
		return t.alter(ctx, c, kadm.SetConfig)
	case "reset":
		return t.alter(ctx, c, kadm.DeleteConfig)
	case "grow":
		answer, err := t.admin.UpdatePartitions(ctx, int(c.number("partitions")), topic)
		if err == nil {
			err = answer.Error()
		}
		return reply{}, err
	case "purge":
		before := kadm.Offsets{}
		before.AddOffset(topic, int32(c.number("partition")), c.number("offset"), -1)
		answer, err := t.admin.DeleteRecords(ctx, before)
		if err != nil {
			return nil, err
		}
		one, _ := answer.Lookup(topic, int32(c.number("partition")))
		return reply{"low_watermark": one.LowWatermark}, one.Err
	case "delete":
		_, err := t.admin.DeleteTopic(ctx, topic)
		return reply{}, err
	case "cluster":
		found, err := t.admin.BrokerMetadata(ctx)
		var nodes []string
		for _, b := range found.Brokers {
			nodes = append(nodes, fmt.Sprintf("%s:%d", b.Host, b.Port))
		}
		return reply{"cluster": found.Cluster, "nodes": nodes}, err
	}
	return nil, fmt.Errorf("no verb %s", c.verb)
}

func (t *topicVerbs) alter(ctx context.Context, c command, op kadm.IncrementalOp) (reply, error) {
	var changes []kadm.AlterConfig
	for _, pair := range c.pairs("config") {
		changes = append(changes, kadm.AlterConfig{Op: op, Name: pair[0], Value: &pair[1]})
	}
	answers, err := t.admin.AlterTopicConfigs(ctx, changes, c.text("topic", ""))
	if err == nil {
		err = answers[0].Err
	}
	return reply{}, err
}

func (t *topicVerbs) describe(ctx context.Context, topic string) (reply, error) {
	found, err := t.admin.ListTopics(ctx, topic)
	if err == nil {
		err = found[topic].Err
	}
	if err != nil {
		return nil, err
	}
	partitions := []reply{}
	for _, p := range found[topic].Partitions.Sorted() {
		partitions = append(partitions, reply{"partition": p.Partition, "leader": p.Leader, "replicas": p.Replicas, "isr": p.ISR})
	}
	answers, err := t.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	configs := reply{}
	for _, entry := range answers[0].Configs {
		configs[entry.Key] = entry.Value
	}
	return reply{"partitions": partitions, "configs": configs}, answers[0].Err
}
