package whisperpush_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// app is a program with the whole client in it: methods are looked up by name, so
// the linker can leave out none that is exported.
const app = `package main

import (
	"context"
	"os"
	"reflect"

	"whisperpush/pushext/client"
)

func main() {
	device, err := client.Open(context.Background(), client.Config{Server: os.Args[1], PushKey: os.Args[2]})
	if err != nil {
		panic(err)
	}
	reflect.ValueOf(device).MethodByName(os.Args[3]).Call(nil)
	client.Discover(context.Background(), os.Args, nil, func(client.Discovered) bool { return true })
}
`

// An app with the client links for what phones and computers run, and neither a
// database nor what only a server needs is in it.
func TestClientLinksOnEveryPlatform(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: builds the standard library for five platforms, two minutes the first time")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte(app), 0o600))
	build := func(t *testing.T, system, processor, cgo string, args ...string) {
		cmd := exec.Command("go", append([]string{"build"}, args...)...)
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+processor, "CGO_ENABLED="+cgo)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	for _, platform := range []string{"android/arm64", "darwin/arm64", "windows/amd64", "linux/arm", runtime.GOOS + "/" + runtime.GOARCH} {
		t.Run(platform, func(t *testing.T) {
			system, processor, _ := strings.Cut(platform, "/")
			program := filepath.Join(dir, system+processor)
			build(t, system, processor, "0", "-o", program, source)
			if system == "linux" || system == "android" {
				requireLight(t, program)
			}
		})
	}
	t.Run("ios/arm64", func(t *testing.T) {
		t.Log("compiled, not linked: that takes Xcode's linker")
		build(t, "ios", "arm64", "0", "./pushext/client")
	})
	t.Run("with cgo", func(t *testing.T) {
		t.Log("for this computer; for others a C compiler of theirs would have to be here")
		build(t, runtime.GOOS, runtime.GOARCH, "1", "-o", filepath.Join(dir, "cgo"), source)
	})
}

// requireLight looks through the functions in a program.
func requireLight(t *testing.T, program string) {
	file, err := elf.Open(program)
	require.NoError(t, err)
	defer file.Close()
	symbols, err := file.Symbols()
	require.NoError(t, err)
	client := false
	for _, symbol := range symbols {
		if elf.ST_TYPE(symbol.Info) != elf.STT_FUNC {
			continue
		}
		client = client || strings.HasPrefix(symbol.Name, "whisperpush/pushext/client.(*Device).Receive")
		for _, heavy := range []string{
			"github.com/syndtr/goleveldb/leveldb.(*DB).",
			"github.com/syndtr/goleveldb/leveldb.Open",
			"github.com/ethereum/go-ethereum/p2p.",
			"github.com/ethereum/go-ethereum/p2p/discover",
			"github.com/ethereum/go-ethereum/p2p/nat.",
			"whisperpush/mailserver.",
			"whisperpush/pushext.",
		} {
			require.False(t, strings.HasPrefix(symbol.Name, heavy), symbol.Name)
		}
	}
	require.True(t, client, "the client is not in it")
}
