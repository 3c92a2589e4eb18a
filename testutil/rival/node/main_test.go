package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
)

// A client of gRPC that subscribes is sent the envelopes in their order, with the fields of
// the schema, and nothing before the word is given.
func TestSubscriberIsSentBatches(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	in, toNode := io.Pipe()
	fromNode, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(in, out) }()
	said := bufio.NewScanner(fromNode)
	next := func() string {
		t.Helper()
		if !said.Scan() {
			t.Fatal("the node says nothing more")
		}
		return said.Text()
	}
	address, ok := strings.CutPrefix(next(), "listening ")
	if !ok {
		t.Fatal("the node does not say where it listens")
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/xmtp.message_api.v1.MessageApi/SubscribeAll")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg([]byte{}); err != nil {
		t.Fatal(err)
	}
	if line := next(); line != "subscribed" {
		t.Fatal(line)
	}
	for round := range 2 {
		topics := []string{fmt.Sprintf("first of %d", round), "second"}
		before := time.Now()
		fmt.Fprintf(toNode, `{"topics": [%q, %q], "size": 40}`, topics[0], topics[1])
		if line := next(); line != "ready" {
			t.Fatal(line)
		}
		fmt.Fprint(toNode, "true\n")
		for i, topic := range topics {
			var b []byte
			if err := stream.RecvMsg(&b); err != nil {
				t.Fatal(err)
			}
			var got string
			var sent uint64
			var message []byte
			for len(b) > 0 {
				number, kind, n := protowire.ConsumeTag(b)
				if n < 0 {
					t.Fatal("no tag")
				}
				b = b[n:]
				switch {
				case number == 1 && kind == protowire.BytesType:
					got, n = protowire.ConsumeString(b)
				case number == 2 && kind == protowire.VarintType:
					sent, n = protowire.ConsumeVarint(b)
				case number == 3 && kind == protowire.BytesType:
					message, n = protowire.ConsumeBytes(b)
				default:
					t.Fatal("field", number)
				}
				if n < 0 {
					t.Fatal("field", number, "is not whole")
				}
				b = b[n:]
			}
			if got != topic || len(message) != 40 || !strings.HasPrefix(string(message), fmt.Sprintf("%016x", i)) {
				t.Errorf("envelope %d: topic %q, message %x", i, got, message)
			}
			if at := time.Unix(0, int64(sent)); at.Before(before) || at.After(time.Now()) {
				t.Errorf("envelope %d was sent at %v", i, at)
			}
		}
		if line := next(); line != "sent" {
			t.Fatal(line)
		}
	}
	toNode.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestBadBatchIsAnError(t *testing.T) {
	if err := serve(strings.NewReader("{"), io.Discard); err == nil {
		t.Fatal("half a batch was taken")
	}
}
