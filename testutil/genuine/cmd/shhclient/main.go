// Command shhclient makes every call of the genuine package whisper/shhclient, and some that it has no method for,
// and prints the results, one line per call. With the URL of a node as its argument it calls that node, otherwise a
// genuine one in this process: the two outputs must be the same.
//
// Random values, and those of the node itself, are printed only as their kind and length.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/ethereum/go-ethereum/whisper/shhclient"
	"github.com/ethereum/go-ethereum/whisper/whisperv6"
)

const (
	patience = 30 * time.Second
	stranger = "enode://6332792c4a00e3e4ee0926ed89e0d27ef985424d97b6a45bf0f23e51f0dcb5e66b875777506458aea7af6f9e4ffb69f43f3778ee73c81ed9d34c51c4b16b0b0f@127.0.0.1:3"
	unknown  = "0000000000000000000000000000000000000000000000000000000000000000"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := dial(ctx, os.Args[1:])
	if err == nil {
		(&session{ctx: ctx, raw: client, shh: shhclient.NewClient(client)}).run()
		return
	}
	fmt.Fprintln(os.Stderr, "shhclient:", err)
	os.Exit(1)
}

// dial connects to the node with the URL given, or to a genuine one in this process.
func dial(ctx context.Context, args []string) (*rpc.Client, error) {
	if len(args) > 0 {
		return rpc.DialContext(ctx, args[0])
	}
	node := whisperv6.StandaloneWhisperService(&whisperv6.Config{MaxMessageSize: 1 << 20, MinimumAcceptedPOW: 0.2})
	if err := node.Start(); err != nil {
		return nil, err
	}
	server := rpc.NewServer()
	for _, api := range node.APIs() {
		if err := server.RegisterName(api.Namespace, api.Service); err != nil {
			return nil, err
		}
	}
	return rpc.DialInProc(server), nil
}

type session struct {
	ctx context.Context
	raw *rpc.Client
	shh *shhclient.Client
}

// say prints what a call returned.
func (s *session) say(call string, result any, err error) {
	if err != nil {
		fmt.Printf("%s: error: %v\n", call, err)
		return
	}
	text, err := json.Marshal(result)
	if err != nil {
		text = []byte(err.Error())
	}
	fmt.Printf("%s: %s\n", call, text)
}

// form describes a random value: hexadecimal with or without 0x, and its length; other values unchanged.
func form(value string) string {
	digits := strings.TrimPrefix(value, "0x")
	if _, err := hex.DecodeString(digits); err != nil || digits == "" {
		return value
	}
	return strings.TrimSuffix(value, digits) + fmt.Sprintf("%d hex digits", len(digits))
}

// call makes a call that package shhclient has no method for, and prints the answer as it arrived.
func (s *session) call(method string, args ...any) {
	var answer json.RawMessage
	err := s.raw.CallContext(s.ctx, &answer, method, args...)
	s.say(method, answer, err)
}

func (s *session) run() {
	version, err := s.shh.Version(s.ctx)
	s.say("version", version, err)
	info, err := s.shh.Info(s.ctx)
	s.say("info", info, err)
	s.call("shh_info")
	s.keys()
	s.settings()
	s.messages()
}

func (s *session) keys() {
	pair, err := s.shh.NewKeyPair(s.ctx)
	s.say("new key pair", form(pair), err)
	has, err := s.shh.HasKeyPair(s.ctx, pair)
	s.say("has key pair", has, err)
	public, err := s.shh.PublicKey(s.ctx, pair)
	s.say("public key", len(public), err)
	private, err := s.shh.PrivateKey(s.ctx, pair)
	s.say("private key", len(private), err)
	added, err := s.shh.AddPrivateKey(s.ctx, private)
	s.say("add private key", form(added), err)
	again, err := s.shh.PublicKey(s.ctx, added)
	s.say("same public key", string(again) == string(public), err)
	_, err = s.shh.AddPrivateKey(s.ctx, []byte{1})
	s.say("add a wrong private key", nil, err)
	deleted, err := s.shh.DeleteKeyPair(s.ctx, added)
	s.say("delete key pair", form(deleted), err)
	has, err = s.shh.HasKeyPair(s.ctx, added)
	s.say("has the deleted key pair", has, err)
	s.call("shh_deleteKeyPair", pair)
	s.call("shh_deleteKeyPair", unknown)
	s.call("shh_getPublicKey", unknown)
	s.call("shh_getPrivateKey", unknown)

	symmetric, err := s.shh.NewSymmetricKey(s.ctx)
	s.say("new symmetric key", form(symmetric), err)
	has, err = s.shh.HasSymmetricKey(s.ctx, symmetric)
	s.say("has symmetric key", has, err)
	key, err := s.shh.GetSymmetricKey(s.ctx, symmetric)
	s.say("symmetric key", len(key), err)
	id, err := s.shh.AddSymmetricKey(s.ctx, key)
	s.say("add symmetric key", form(id), err)
	_, err = s.shh.AddSymmetricKey(s.ctx, []byte{1})
	s.say("add a wrong symmetric key", nil, err)
	id, err = s.shh.GenerateSymmetricKeyFromPassword(s.ctx, "family")
	s.say("symmetric key from password", form(id), err)
	key, err = s.shh.GetSymmetricKey(s.ctx, id)
	s.say("symmetric key of the password", hexutil.Bytes(key), err)
	s.say("delete symmetric key", nil, s.shh.DeleteSymmetricKey(s.ctx, id))
	s.call("shh_deleteSymKey", symmetric)
	s.call("shh_deleteSymKey", unknown)
	s.call("shh_hasSymKey", unknown)
	s.call("shh_getSymKey", unknown)
}

func (s *session) settings() {
	s.say("set maximum message size", nil, s.shh.SetMaxMessageSize(s.ctx, 1<<19))
	s.say("set minimum PoW", nil, s.shh.SetMinimumPoW(s.ctx, 0.3))
	info, err := s.shh.Info(s.ctx)
	s.say("changed info", info, err)
	s.call("shh_setMinPoW", -1)
	s.call("shh_setMinPoW", 0.2)
	s.call("shh_setMaxMessageSize", 1<<30)
	s.call("shh_setBloomFilter", "0x01")
	s.call("shh_setBloomFilter", hexutil.Bytes(strings.Repeat("\xff", 64)))
	s.say("mark trusted peer", nil, s.shh.MarkTrustedPeer(s.ctx, "no enode"))
	s.call("shh_makeLightClient")
	s.call("shh_cancelLightClient")
	s.call("shh_unheardOf")
}

// messages posts to itself, signed, under each kind of key, and listens in both ways.
func (s *session) messages() {
	key, err := s.shh.NewSymmetricKey(s.ctx)
	s.say("key for messages", form(key), err)
	signer, _ := s.shh.NewKeyPair(s.ctx)
	receiver, _ := s.shh.NewKeyPair(s.ctx)
	signerKey, _ := s.shh.PublicKey(s.ctx, signer)
	receiverKey, _ := s.shh.PublicKey(s.ctx, receiver)
	topic := whisperv6.TopicType{1, 2, 3, 4}

	filter, err := s.shh.NewMessageFilter(s.ctx, whisperv6.Criteria{SymKeyID: key, Topics: []whisperv6.TopicType{topic}, Sig: signerKey, MinPow: 0.2})
	s.say("new filter", form(filter), err)
	toMe, err := s.shh.NewMessageFilter(s.ctx, whisperv6.Criteria{PrivateKeyID: receiver})
	s.say("new filter of a private key", form(toMe), err)
	feed := make(chan *whisperv6.Message, 8)
	sub, err := s.shh.SubscribeMessages(s.ctx, whisperv6.Criteria{SymKeyID: key, Topics: []whisperv6.TopicType{topic}}, feed)
	s.say("subscribe", nil, err)
	if err != nil {
		return
	}

	message := whisperv6.NewMessage{
		SymKeyID: key, Sig: signer, Topic: topic, TTL: 20, Payload: []byte("hello"), Padding: []byte("padding"), PowTime: 5, PowTarget: 0.5,
	}
	hash, err := s.shh.Post(s.ctx, message)
	s.say("post", form(hash), err)
	select {
	case m := <-feed:
		s.received("subscribed", m, hash, signerKey)
	case err := <-sub.Err():
		s.say("subscription", nil, err)
	case <-time.After(patience):
		fmt.Println("subscribed: nothing came")
	}
	s.poll("polled", filter, hash, signerKey)
	s.poll("polled again", filter, hash, signerKey)
	sub.Unsubscribe()

	hash, err = s.shh.Post(s.ctx, whisperv6.NewMessage{PublicKey: receiverKey, Topic: topic, TTL: 20, Payload: []byte("to you"), PowTime: 5, PowTarget: 0.5})
	s.say("post to a public key", form(hash), err)
	s.poll("polled of a private key", toMe, hash, receiverKey)

	for _, refused := range []struct {
		name   string
		change func(*whisperv6.NewMessage)
	}{
		{"no key", func(m *whisperv6.NewMessage) { m.SymKeyID = "" }},
		{"both keys", func(m *whisperv6.NewMessage) { m.PublicKey = receiverKey }},
		{"unknown key", func(m *whisperv6.NewMessage) { m.SymKeyID = unknown }},
		{"unknown signer", func(m *whisperv6.NewMessage) { m.Sig = unknown }},
		{"no topic", func(m *whisperv6.NewMessage) { m.Topic = whisperv6.TopicType{} }},
		{"too little work", func(m *whisperv6.NewMessage) { m.PowTarget = 0.1 }},
		{"wrong public key", func(m *whisperv6.NewMessage) { m.SymKeyID, m.PublicKey = "", []byte{4} }},
		{"wrong peer", func(m *whisperv6.NewMessage) { m.TargetPeer = "no enode" }},
	} {
		m := message
		refused.change(&m)
		_, err := s.shh.Post(s.ctx, m)
		s.say("post, "+refused.name, nil, err)
	}
	m := message
	m.TargetPeer = stranger
	_, err = s.shh.Post(s.ctx, m)
	s.say("post to a stranger fails", err != nil, nil)

	_, err = s.shh.NewMessageFilter(s.ctx, whisperv6.Criteria{})
	s.say("filter without a key", nil, err)
	_, err = s.shh.NewMessageFilter(s.ctx, whisperv6.Criteria{SymKeyID: key, PrivateKeyID: receiver})
	s.say("filter with both keys", nil, err)
	_, err = s.shh.NewMessageFilter(s.ctx, whisperv6.Criteria{SymKeyID: key})
	s.say("filter without a topic", nil, err)
	_, err = s.shh.SubscribeMessages(s.ctx, whisperv6.Criteria{SymKeyID: key}, feed)
	s.say("subscribe without a topic", nil, err)
	_, err = s.shh.NewMessageFilter(s.ctx, whisperv6.Criteria{SymKeyID: unknown, Topics: []whisperv6.TopicType{topic}})
	s.say("filter of an unknown key", nil, err)
	_, err = s.shh.NewMessageFilter(s.ctx, whisperv6.Criteria{SymKeyID: key, Topics: []whisperv6.TopicType{topic}, Sig: []byte{4}})
	s.say("filter of a wrong signer", nil, err)
	s.say("delete filter", nil, s.shh.DeleteMessageFilter(s.ctx, filter))
	s.say("delete it again", nil, s.shh.DeleteMessageFilter(s.ctx, filter))
	_, err = s.shh.FilterMessages(s.ctx, filter)
	s.say("poll a deleted filter", nil, err)
}

// poll asks until something arrives; for a filter that has already given its messages it says so at once.
func (s *session) poll(call, filter, hash string, key []byte) {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		messages, err := s.shh.FilterMessages(s.ctx, filter)
		if err != nil || len(messages) == 0 && strings.HasSuffix(call, "again") {
			s.say(call, messages, err)
			return
		}
		for _, m := range messages {
			s.received(call, m, hash, key)
		}
		if len(messages) > 0 {
			return
		}
		if time.Now().After(deadline) {
			fmt.Printf("%s: nothing came\n", call)
			return
		}
	}
}

// received prints a message, with whether its keys and hash are as they must be.
func (s *session) received(call string, m *whisperv6.Message, hash string, key []byte) {
	fmt.Printf("%s: payload %q, padding of %d, ttl %d, topic %v, work done %v, fresh %v, hash %v, signed %d %v, receiver %d %v\n", call,
		m.Payload, len(m.Padding), m.TTL, m.Topic, m.PoW >= 0.3, time.Since(time.Unix(int64(m.Timestamp), 0)) < time.Minute,
		hexutil.Encode(m.Hash) == hash, len(m.Sig), string(m.Sig) == string(key), len(m.Dst), string(m.Dst) == string(key))
}
