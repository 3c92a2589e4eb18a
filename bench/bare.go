package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/rlpx"
	"github.com/ethereum/go-ethereum/rlp"

	"whisperpush/whisper"
)

// bareLoops are the loops that a node is compared with. Each runs as a process of its own,
// as the node does: `bench bare rings` and `bench bare rlpx`, which this program starts
// itself.
var bareLoops = map[string]func(ctx context.Context, stdin io.Reader, stdout io.Writer) error{
	"rings": bareRings,
	"rlpx":  bareReader,
}

// bareTask is what `bench bare rings` reads.
type bareTask struct {
	URL, Access string
	Body        []byte
	File        string // written and synced
	Items       int
}

// bareDone is what a bare loop prints at its end.
type bareDone struct{ Seconds, CPU float64 } // CPU in seconds of processor time

// bareRings makes items durable, as many with one fsync as have arrived, and posts each over
// one of pushers connections: the least that a node needs for a first wake-up.
func bareRings(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	var t bareTask
	if err := json.NewDecoder(stdin).Decode(&t); err != nil {
		return err
	}
	file, err := os.Create(t.File)
	if err != nil {
		return err
	}
	defer file.Close()
	p := &poster{client: newClient(), url: t.URL, access: t.Access, body: t.Body}
	defer p.client.CloseIdleConnections()
	if err := p.post(ctx); err != nil { // makes the connection
		return err
	}
	start, before := time.Now(), ownCPU()
	synced := make(chan struct{}, pushers)
	failure := make(chan error, pushers+1)
	var posting sync.WaitGroup
	for range pushers {
		posting.Go(func() {
			for range synced {
				if err := p.post(ctx); err != nil {
					failure <- err
					return
				}
			}
		})
	}
	go func() {
		defer close(synced)
		record := make([]byte, dataSize+60)
		for done := 0; done < t.Items; {
			group := min(pushers, t.Items-done) // while the group before it is posted
			for range group {
				if _, err := file.Write(record); err != nil {
					failure <- err
					return
				}
			}
			if err := file.Sync(); err != nil {
				failure <- err
				return
			}
			for range group {
				synced <- struct{}{}
			}
			done += group
		}
	}()
	posting.Wait()
	select {
	case err := <-failure:
		return err
	default:
	}
	return json.NewEncoder(stdout).Encode(bareDone{time.Since(start).Seconds(), (ownCPU() - before).Seconds()})
}

// bareReader takes one link of shh/6, decrypts and hashes the envelopes that arrive, as any
// node must, and drops them. It reads how many will arrive, prints its enode URL, and a
// bareDone when they have arrived.
func bareReader(_ context.Context, stdin io.Reader, stdout io.Writer) error {
	var count int
	if err := json.NewDecoder(stdin).Decode(&count); err != nil {
		return err
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	addr := listener.Addr().(*net.TCPAddr)
	fmt.Fprintln(stdout, enode.NewV4(&key.PublicKey, addr.IP, addr.Port, 0).URLv4())
	raw, err := listener.Accept()
	if err != nil {
		return err
	}
	defer raw.Close()
	conn := rlpx.NewConn(raw, nil)
	if _, err := conn.Handshake(key); err != nil {
		return err
	}
	ours, err := encodeHello("bare", key)
	if err != nil {
		return err
	}
	if _, err := conn.Write(helloPacket, ours); err != nil {
		return err
	}
	if _, _, _, err := conn.Read(); err != nil { // their hello
		return err
	}
	conn.SetSnappy(true)
	status, err := encodeStatus()
	if err != nil {
		return err
	}
	if _, err := conn.Write(baseLength+whisper.StatusPacket, status); err != nil {
		return err
	}
	hasher := crypto.NewKeccakState()
	var start time.Time
	var before time.Duration
	for seen := 0; seen < count; {
		code, payload, _, err := conn.Read()
		if err != nil {
			return err
		}
		if code != baseLength+whisper.MessagesPacket {
			continue
		}
		if seen == 0 {
			start, before = time.Now(), ownCPU()
		}
		list, _, err := rlp.SplitList(payload)
		if err != nil {
			return err
		}
		for len(list) > 0 {
			_, _, rest, err := rlp.Split(list)
			if err != nil {
				return err
			}
			var hash [32]byte
			hasher.Reset()
			hasher.Write(list[:len(list)-len(rest)])
			if _, err := hasher.Read(hash[:]); err != nil {
				return err
			}
			list = rest
			seen++
		}
	}
	return json.NewEncoder(stdout).Encode(bareDone{time.Since(start).Seconds(), (ownCPU() - before).Seconds()})
}

// bare is a bare loop in a process of its own.
type bare struct {
	cmd    *exec.Cmd
	errors bytes.Buffer
	lines  *bufio.Reader
}

// startBare starts a loop and gives it its task.
func startBare(ctx context.Context, loop string, task any) (*bare, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	input, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	b := &bare{cmd: exec.CommandContext(ctx, self, "bare", loop)}
	b.cmd.Stdin, b.cmd.Stderr = bytes.NewReader(input), &b.errors
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.lines = bufio.NewReader(stdout)
	return b, b.cmd.Start()
}

// line returns the next line that the loop prints.
func (b *bare) line() (string, error) {
	line, err := b.lines.ReadString('\n')
	if err != nil {
		b.cmd.Wait()
		return "", fmt.Errorf("bare loop: %w: %s", err, strings.TrimSpace(b.errors.String()))
	}
	return strings.TrimSpace(line), nil
}

// done waits for the loop to end.
func (b *bare) done() (bareDone, error) {
	var d bareDone
	line, err := b.line()
	if err == nil {
		err = json.Unmarshal([]byte(line), &d)
	}
	return d, errors.Join(err, b.cmd.Wait())
}

// kill ends a loop that is no longer needed.
func (b *bare) kill() {
	b.cmd.Process.Kill()
	b.cmd.Wait()
}
