package main

import (
	"fmt"

	"github.com/ethereum/go-ethereum/common/hexutil"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

type bloomCase struct {
	Name  string            `json:"name"`
	Topic whisper.TopicType `json:"topic"`
	Bloom hexutil.Bytes     `json:"bloom"`
	Bits  []int             `json:"bits"`
	Lost  []int             `json:"lost"`
}

// positions are the three bits EIP-627 gives a topic.
func positions(t whisper.TopicType) (p [3]int) {
	for j := range p {
		p[j] = int(t[j]) | int(t[3]>>j&1)<<8
	}
	return p
}

func newBloomCase(name string, t whisper.TopicType) bloomCase {
	c := bloomCase{Name: name, Topic: t, Bloom: whisper.TopicToBloom(t), Bits: []int{}, Lost: []int{}}
	set := map[int]bool{}
	for bit := 0; bit < len(c.Bloom)*8; bit++ {
		if c.Bloom[bit/8]>>(bit%8)&1 == 1 {
			set[bit] = true
			c.Bits = append(c.Bits, bit)
		}
	}
	for _, p := range positions(t) {
		if !set[p] {
			set[p] = true
			c.Lost = append(c.Lost, p)
		}
	}
	return c
}

// blooms covers the ways in which the three positions can fall: apart, two in
// one byte (three pairs), all in one byte; each on the same and on different
// bits, in the lower, the upper and both halves of the filter.
func blooms() ([]bloomCase, error) {
	type pattern struct {
		name string
		at   [3]byte
	}
	patterns := []pattern{
		{"apart", [3]byte{0x01, 0x42, 0x83}},
		{"0 and 1 in one byte, 1 higher", [3]byte{0x10, 0x17, 0x83}},
		{"0 and 1 in one byte, 0 higher", [3]byte{0x17, 0x10, 0x83}},
		{"0 and 1 on one bit", [3]byte{0x10, 0x10, 0x83}},
		{"0 and 2 in one byte, 2 higher", [3]byte{0x10, 0x83, 0x17}},
		{"0 and 2 in one byte, 0 higher", [3]byte{0x17, 0x83, 0x10}},
		{"0 and 2 on one bit", [3]byte{0x10, 0x83, 0x10}},
		{"1 and 2 in one byte, 2 higher", [3]byte{0x83, 0x10, 0x17}},
		{"1 and 2 in one byte, 1 higher", [3]byte{0x83, 0x17, 0x10}},
		{"1 and 2 on one bit", [3]byte{0x83, 0x10, 0x10}},
		{"all in one byte", [3]byte{0x20, 0x23, 0x26}},
		{"all in one byte, 0 and 1 on one bit", [3]byte{0x20, 0x20, 0x26}},
		{"all in one byte, 0 and 2 on one bit", [3]byte{0x20, 0x26, 0x20}},
		{"all in one byte, 1 and 2 on one bit", [3]byte{0x26, 0x20, 0x20}},
		{"all on one bit", [3]byte{0x20, 0x20, 0x20}},
		{"first byte", [3]byte{0x00, 0x03, 0x07}},
		{"last byte of a half", [3]byte{0xf8, 0xfb, 0xff}},
		{"neighbours across a byte border", [3]byte{0x07, 0x08, 0x0f}},
	}
	var cases []bloomCase
	for _, p := range patterns {
		for high := byte(0); high < 8; high++ {
			t := whisper.TopicType{p.at[0], p.at[1], p.at[2], high}
			cases = append(cases, newBloomCase(fmt.Sprintf("%s, halves %03b", p.name, high), t))
		}
	}
	for _, s := range []string{"0x000000f8", "0x01428af8", "0xffffffff", "0x00000000", "0xdeadbeef", "0xcafebabe", "0x70a4beef"} {
		cases = append(cases, newBloomCase("topic "+s, topic(s)))
	}
	return cases, nil
}

type matchCase struct {
	Name   string        `json:"name"`
	Filter hexutil.Bytes `json:"filter"`
	Sample hexutil.Bytes `json:"sample"`
	Match  bool          `json:"match"`
}

func bloomMatches() ([]matchCase, error) {
	var (
		plain    = whisper.TopicToBloom(topic("0x01428300"))
		collided = whisper.TopicToBloom(topic("0x10178300"))
		zero     = make([]byte, whisper.BloomFilterSize)
		full     = whisper.MakeFullNodeBloom()
		missing  = append([]byte{}, full...)
	)
	missing[0x42/8] &^= 1 << (0x42 % 8)
	var cases []matchCase
	for _, c := range []struct {
		name           string
		filter, sample []byte
	}{
		{"itself", plain, plain}, {"itself, collided", collided, collided}, {"full", full, plain}, {"empty filter", zero, plain},
		{"empty sample", plain, zero}, {"both empty", zero, zero}, {"another topic", collided, plain}, {"one bit missing", missing, plain},
		{"full sample", plain, full},
	} {
		cases = append(cases, matchCase{c.name, c.filter, c.sample, whisper.BloomFilterMatch(c.filter, c.sample)})
	}
	return cases, nil
}

type aggregateCase struct {
	Name string `json:"name"`
	// Before is the filter set by hand first; null means none, a full node.
	Before *hexutil.Bytes      `json:"before"`
	Topics []whisper.TopicType `json:"topics"`
	// After is the filter once the node subscribed to the topics; null as above.
	After *hexutil.Bytes `json:"after"`
}

func bloomAggregates() ([]aggregateCase, error) {
	zero := make([]byte, whisper.BloomFilterSize)
	var cases []aggregateCase
	for _, c := range []struct {
		name   string
		before []byte
		topics []whisper.TopicType
	}{
		{"full node subscribes: stays full", nil, []whisper.TopicType{topic("0x01428300")}},
		{"light node, no topic", zero, nil},
		{"light node, one topic", zero, []whisper.TopicType{topic("0x01428300")}},
		{"light node, collided topic", zero, []whisper.TopicType{topic("0x10178300")}},
		{"light node, lost bit restored by another topic", zero, []whisper.TopicType{topic("0x10178300"), topic("0x10900000")}},
		{"light node, three topics in one byte", zero, []whisper.TopicType{topic("0x20232600"), topic("0x21242700"), topic("0x22252000")}},
		{"adds to what was set", whisper.TopicToBloom(topic("0xdeadbeef")), []whisper.TopicType{topic("0x01428300")}},
	} {
		shh := whisper.StandaloneWhisperService(nil)
		ac := aggregateCase{Name: c.name, Topics: append([]whisper.TopicType{}, c.topics...)}
		if c.before != nil {
			b := hexutil.Bytes(c.before)
			ac.Before = &b
			if err := shh.SetBloomFilter(c.before); err != nil {
				return nil, err
			}
		}
		f := &whisper.Filter{KeySym: symKeyFor("bloom")}
		for i := range c.topics {
			f.Topics = append(f.Topics, c.topics[i][:])
		}
		if _, err := shh.Subscribe(f); err != nil {
			return nil, err
		}
		if after := shh.BloomFilter(); after != nil {
			b := hexutil.Bytes(after)
			ac.After = &b
		}
		cases = append(cases, ac)
	}
	return cases, nil
}
