// Command node is as much of an XMTP node as a notification server listens to: an unencrypted
// gRPC server on loopback, whose one call streams all envelopes to a subscriber (SubscribeAll
// of xmtp.message_api.v1.MessageApi in XMTP's public schema).
//
// It prints one line each on its standard output: where it listens ("listening HOST:PORT"),
// that a client subscribed, that a batch is made ("ready") and that it was taken ("sent"). A
// batch is two JSON values on standard input: its topics and the size of a message, and then
// any value, upon which it is sent. It ends when its input does.
//
//	{"topics": ["/xmtp/mls/1/w-00…", …], "size": 284} true
//
// No code is generated from the schema: an envelope has three fields, which are written as
// bytes, and gRPC passes these on unchanged.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

// batch is a series of envelopes to send, by their topics, in order.
type batch struct {
	Topics []string `json:"topics"`
	Size   int      `json:"size"` // of the message in each, in bytes
}

// Fields of xmtp.message_api.v1.Envelope.
const (
	topicField     protowire.Number = 1 // string
	timestampField protowire.Number = 2 // uint64, nanoseconds since 1970
	messageField   protowire.Number = 3 // bytes
)

// appendEnvelope appends an envelope.
func appendEnvelope(b []byte, topic string, sent time.Time, message []byte) []byte {
	b = protowire.AppendTag(b, topicField, protowire.BytesType)
	b = protowire.AppendString(b, topic)
	b = protowire.AppendTag(b, timestampField, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(sent.UnixNano()))
	b = protowire.AppendTag(b, messageField, protowire.BytesType)
	return protowire.AppendBytes(b, message)
}

// envelopes makes the envelopes of a batch. Each message begins differently.
func (b batch) envelopes(sent time.Time) [][]byte {
	out := make([][]byte, len(b.Topics))
	for i, topic := range b.Topics {
		message := make([]byte, b.Size)
		copy(message, fmt.Sprintf("%016x", i))
		out[i] = appendEnvelope(nil, topic, sent, message)
	}
	return out
}

// raw is a codec for messages that are already bytes.
type raw struct{}

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is no message", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T takes no message", v)
	}
	*b = data.Materialize()
	return nil
}

func (raw) Name() string { return "proto" }

// serve streams the batches read from in to the one subscriber.
func serve(in io.Reader, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var (
		lines    = make(chan string)   // to write to out
		sending  = make(chan [][]byte) // envelopes for the subscriber
		failures = make(chan error, 2)
	)
	say := func(line string) {
		select {
		case lines <- line:
		case <-ctx.Done():
		}
	}
	subscribed := func(_ any, stream grpc.ServerStream) error {
		var request []byte
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		// Without headers the client would not know of the stream before the first envelope.
		if err := stream.SendHeader(nil); err != nil {
			return err
		}
		say("subscribed")
		for {
			select {
			case envelopes := <-sending:
				for _, e := range envelopes {
					if err := stream.SendMsg(e); err != nil {
						return err
					}
				}
				say("sent")
			case <-stream.Context().Done():
				return nil
			case <-ctx.Done():
				return nil
			}
		}
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "xmtp.message_api.v1.MessageApi",
		HandlerType: (*any)(nil),
		Streams:     []grpc.StreamDesc{{StreamName: "SubscribeAll", Handler: subscribed, ServerStreams: true}},
	}, nil)
	defer server.Stop()
	go func() { failures <- server.Serve(listener) }()
	go func() { failures <- read(ctx, in, say, sending) }()
	if _, err := fmt.Fprintf(out, "listening %s\n", listener.Addr()); err != nil {
		return err
	}
	for {
		select {
		case line := <-lines:
			if _, err := fmt.Fprintln(out, line); err != nil {
				return err
			}
		case err := <-failures:
			return err
		}
	}
}

// read takes batches until in ends.
func read(ctx context.Context, in io.Reader, say func(string), sending chan<- [][]byte) error {
	decoder := json.NewDecoder(in)
	for {
		var b batch
		if err := decoder.Decode(&b); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("a batch: %w", err)
		}
		envelopes := b.envelopes(time.Now())
		say("ready")
		var now any
		if err := decoder.Decode(&now); err != nil {
			return fmt.Errorf("the word to send a batch: %w", err)
		}
		select {
		case sending <- envelopes:
		case <-ctx.Done():
			return nil
		}
	}
}
