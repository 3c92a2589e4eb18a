package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/rlp"
	whisper "github.com/ethereum/go-ethereum/whisper/whisperv6"
)

type hex = hexutil.Bytes

// bits is a float64 by its IEEE 754 bits: a PoW may be infinite, which JSON
// cannot say.
type bits = hexutil.Uint64

func newBits(f float64) bits { return bits(math.Float64bits(f)) }

// control reads requests and writes responses and events, one JSON value a line.
type control struct {
	in *json.Decoder

	mu  sync.Mutex // guards the following fields
	out *json.Encoder
}

func newControl(in io.Reader, out io.Writer) *control {
	return &control{in: json.NewDecoder(bufio.NewReader(in)), out: json.NewEncoder(out)}
}

type request struct {
	ID     uint64          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

type response struct {
	ID     uint64      `json:"id"`
	Result interface{} `json:"result,omitempty"`
	Error  string      `json:"error,omitempty"`
}

type event struct {
	Event string      `json:"event"`
	Data  interface{} `json:"data"`
}

func (c *control) write(v interface{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.Encode(v) // a reader that left also ends stdin, and so the process
}

func (c *control) event(name string, data interface{}) { c.write(event{name, data}) }

// run answers requests, each on a goroutine of its own because some of them
// wait, until the input ends or is not JSON.
func (c *control) run(n *node) {
	for {
		var r request
		if err := c.in.Decode(&r); err != nil {
			return
		}
		go func() {
			result, err := n.call(r.Method, r.Params)
			resp := response{ID: r.ID, Result: result}
			if err != nil {
				resp = response{ID: r.ID, Error: err.Error()}
			}
			c.write(resp)
		}()
	}
}

// Parameters of the methods; a method takes those it names below.
type params struct {
	Enode    string   `json:"enode"`
	Peer     enode.ID `json:"peer"`
	Password string   `json:"password"`

	// An envelope to make and to send, or one that is made already.
	Envelope   hex     `json:"envelope"`
	SymKey     hex     `json:"symKey"`
	PublicKey  hex     `json:"publicKey"` // 65 bytes
	SignKey    hex     `json:"signKey"`
	TTL        uint32  `json:"ttl"`
	Topic      hex     `json:"topic"`
	Payload    hex     `json:"payload"`
	Padding    hex     `json:"padding"`
	PoW        float64 `json:"pow"`
	PoWSeconds uint32  `json:"powSeconds"`
	Via        string  `json:"via"`

	// A filter.
	PrivateKey hex    `json:"privateKey"`
	Signer     hex    `json:"signer"`
	Topics     []hex  `json:"topics"`
	AllowP2P   bool   `json:"allowP2P"`
	Filter     string `json:"filter"`

	Bloom   hex    `json:"bloom"`
	Count   int    `json:"count"`
	Size    uint32 `json:"size"`
	Light   bool   `json:"light"`
	Writers int    `json:"writers"`
	Load    load   `json:"load"`
}

// sent is the answer to methods that make an envelope.
type sent struct {
	Hash     common.Hash `json:"hash"`
	Envelope hex         `json:"envelope"`
}

func (n *node) call(method string, raw json.RawMessage) (interface{}, error) {
	var p params
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, err
		}
	}
	switch method {
	case "info":
		return n.info(), nil
	case "peers":
		return n.server.PeersInfo(), nil

	case "addPeer", "removePeer": // enode: keeps a link to it, or ends that
		peer, err := enode.Parse(enode.ValidSchemes, p.Enode)
		if err != nil {
			return nil, err
		}
		if method == "addPeer" {
			n.server.AddPeer(peer)
		} else {
			n.server.RemovePeer(peer)
		}
		return true, nil
	case "trustPeer": // peer: accept packets 127 of it
		return true, n.shh.AllowP2PMessagesFromPeer(p.Peer[:])

	case "setBloom": // bloom
		return true, n.shh.SetBloomFilter(p.Bloom)
	case "setLight": // light
		n.shh.SetLightClientMode(p.Light)
		return true, nil
	case "setMinPoW": // pow; what was tolerated before is tolerated 10 s longer
		return true, n.shh.SetMinimumPoW(p.PoW)
	case "setMaxMessageSize": // size
		return true, n.shh.SetMaxMessageSize(p.Size)

	case "symKey": // password
		id, err := n.shh.AddSymKeyFromPassword(p.Password)
		if err != nil {
			return nil, err
		}
		defer n.shh.DeleteSymKey(id)
		key, err := n.shh.GetSymKey(id)
		return hex(key), err
	case "post": // symKey or publicKey, signKey, ttl, topic, payload, padding, pow, powSeconds, via, peer
		return n.post(p)
	case "send": // envelope, via, peer
		var env whisper.Envelope
		if err := rlp.DecodeBytes(p.Envelope, &env); err != nil {
			return nil, err
		}
		return sent{env.Hash(), p.Envelope}, n.send(&env, p.Via, p.Peer)
	case "subscribe": // symKey or privateKey, signer, topics, pow, allowP2P
		f := &whisper.Filter{KeySym: p.SymKey, PoW: p.PoW, AllowP2P: p.AllowP2P}
		for _, t := range p.Topics {
			f.Topics = append(f.Topics, t)
		}
		var err error
		if p.PrivateKey != nil {
			if f.KeyAsym, err = crypto.ToECDSA(p.PrivateKey); err != nil {
				return nil, err
			}
		}
		if p.Signer != nil {
			if f.Src, err = crypto.UnmarshalPubkey(p.Signer); err != nil {
				return nil, err
			}
		}
		return n.subscribe(f)
	case "unsubscribe": // filter
		return true, n.shh.Unsubscribe(p.Filter)

	case "pool": // hashes of the envelopes in the pool
		hashes := []common.Hash{}
		for _, e := range n.shh.Envelopes() {
			hashes = append(hashes, e.Hash())
		}
		return hashes, nil
	case "archived": // count: answers once so many were archived
		if n.mail == nil {
			return nil, errNoMailserver
		}
		return n.mail.await(p.Count, n.quit)
	case "fill": // load, writers: puts envelopes straight into the archive
		if n.mail == nil {
			return nil, errNoMailserver
		}
		envs, err := p.Load.envelopes()
		if err != nil {
			return nil, err
		}
		return timeArchive(n.mail.WMailServer.Archive, envs, max(p.Writers, 1)), nil
	}
	return nil, fmt.Errorf("unknown method %q", method)
}

var errNoMailserver = fmt.Errorf("the node was started without a mailserver")

func (n *node) post(p params) (interface{}, error) {
	m := &whisper.MessageParams{TTL: p.TTL, KeySym: p.SymKey, Topic: whisper.BytesToTopic(p.Topic), Payload: p.Payload,
		Padding: p.Padding, PoW: p.PoW, WorkTime: p.PoWSeconds}
	if m.WorkTime == 0 {
		m.WorkTime = 5
	}
	var err error
	if p.PublicKey != nil {
		if m.Dst, err = crypto.UnmarshalPubkey(p.PublicKey); err != nil {
			return nil, err
		}
	}
	if p.SignKey != nil {
		if m.Src, err = crypto.ToECDSA(p.SignKey); err != nil {
			return nil, err
		}
	}
	msg, err := whisper.NewSentMessage(m)
	if err != nil {
		return nil, err
	}
	env, err := msg.Wrap(m)
	if err != nil {
		return nil, err
	}
	raw, err := rlp.EncodeToBytes(env)
	if err != nil {
		return nil, err
	}
	return sent{env.Hash(), raw}, n.send(env, p.Via, p.Peer)
}
