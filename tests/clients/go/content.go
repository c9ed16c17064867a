package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	poolSize      = 65536
	baseTimestamp = 1_700_000_000_000
)

// content makes the record that stands at a place from a seed alone; docs/clients.md has the rule that every client follows.
type content struct {
	seed       uint32
	nullHeader []byte
	pool       []byte
}

func newContent(c command) *content {
	out := &content{seed: uint32(c.number("seed")), pool: make([]byte, poolSize+1024)}
	if c.text("header_nulls", "yes") != "yes" {
		out.nullHeader = []byte{}
	}
	x := out.seed | 1
	for i := range out.pool {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		out.pool[i] = byte(97 + x>>28)
		if i < poolSize/2 {
			out.pool[i] = byte(x)
		}
	}
	return out
}

type record struct {
	timestamp  int64
	key, value []byte
	headers    []kgo.RecordHeader
}

func (c *content) at(index int64) record {
	h := mix(c.seed + uint32(index)*0x9E3779B9)
	r := record{timestamp: baseTimestamp + index*10 + int64(h%10), headers: c.headers(index, h)}
	switch h & 7 {
	case 0:
	case 1:
		r.key = []byte{}
	default:
		r.key = fmt.Appendf(nil, "key-%d", index)
	}
	switch h & 63 {
	case 2:
	case 3:
		r.value = []byte{}
	default:
		from := (h >> 6) & 0xFFFF
		r.value = fmt.Appendf(nil, "value-%d-%d-", c.seed, index)
		r.value = append(r.value, c.pool[from:from+(h>>22)&0xFF]...)
	}
	return r
}

func (c *content) headers(index int64, h uint32) []kgo.RecordHeader {
	switch (h >> 20) & 3 {
	case 0:
		return nil
	case 1:
		return []kgo.RecordHeader{{Key: "trace", Value: binary.BigEndian.AppendUint32(nil, h)}}
	case 2:
		return []kgo.RecordHeader{{Key: "dup", Value: fmt.Appendf(nil, "a%d", index)},
			{Key: "dup", Value: fmt.Appendf(nil, "b%d", index)}, {Key: "null", Value: c.nullHeader}}
	default:
		from := h % 1000
		return []kgo.RecordHeader{{Key: "empty", Value: []byte{}}, {Key: "größe", Value: c.pool[from : from+8]}}
	}
}

func mix(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x7feb352d
	x ^= x >> 15
	x *= 0x846ca68b
	return x ^ x>>16
}

// digest adds one record: everything that the broker must give back, lengths included.
func digest(crc uint32, offset int64, r record) uint32 {
	b := binary.BigEndian.AppendUint64(nil, uint64(offset))
	b = binary.BigEndian.AppendUint64(b, uint64(r.timestamp))
	b = sized(sized(b, r.key), r.value)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.headers)))
	for _, h := range r.headers {
		b = sized(sized(b, []byte(h.Key)), h.Value)
	}
	return crc32.Update(crc, crc32.IEEETable, b)
}

func sized(b, field []byte) []byte {
	if field == nil {
		return binary.BigEndian.AppendUint32(b, 0xFFFFFFFF)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(field))), field...)
}

func (r record) equal(o record) bool {
	return r.timestamp == o.timestamp && same(r.key, o.key) && same(r.value, o.value) &&
		slices.EqualFunc(r.headers, o.headers, func(a, b kgo.RecordHeader) bool { return a.Key == b.Key && same(a.Value, b.Value) })
}

// same tells an absent field from an empty one.
func same(a, b []byte) bool {
	return (a == nil) == (b == nil) && slices.Equal(a, b)
}
