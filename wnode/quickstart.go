package wnode

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/urfave/cli/v2"
	"rsc.io/qr"

	"whisperpush/config"
	"whisperpush/wnode/node"
)

func quickstartCommand() *cli.Command {
	return &cli.Command{
		Name:      "quickstart",
		Usage:     "write settings and keys for a node with push, check this computer, and say what to do next",
		UsageText: "wnode quickstart [--config FILE] [--datadir DIRECTORY] [--extip IP] [--contact mailto:ADDRESS]",
		Description: "It asks nothing. It writes the settings and makes the keys that are not there, and never overwrites one, so it can be\n" +
			"repeated; then it checks what wnode doctor checks, and prints the next steps and the URL that an app needs, also as\n" +
			"a QR code. The exit code is 0 also if a check fails: what to do stands beside it.\n\n" +
			"Example:\n   wnode quickstart --config node.toml --contact mailto:operator@example.org",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "`FILE` for the settings", Value: "node.toml", DefaultText: "node.toml"},
			&cli.StringFlag{Name: "datadir", Usage: "`DIRECTORY` of keys, archive and registrations, for settings that are written", Value: config.DefaultDataDir(), DefaultText: "~/.whisperpush"},
			&cli.StringFlag{Name: "extip", Usage: "public `IP` of this computer (default: that of an interface, if one has any)"},
			&cli.StringFlag{Name: "contact", Usage: "where push services find you, a `URL` such as mailto:operator@example.org; it turns on Web Push"},
		},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			return quickstart(c.Context, c.App.Writer, c.String("config"), c.String("datadir"), c.String("extip"), c.String("contact"))
		},
	}
}

// starter is the settings file that quickstart writes.
var starter = template.Must(template.New("").Funcs(template.FuncMap{"q": tomlText}).Parse(`# Settings of a whisperpush node. Use them with: wnode --config {{.Path}}
# wnode dumpconfig prints every setting with its comment and default; wnode check-config says what is wrong with these.

[Node]
# Keys, archive, registrations and socket. Keep copies of nodekey, pushkey and push.disk.key.
DataDir = {{q .DataDir}}
{{- if .IP}}
# The public address of this computer.
NAT = {{q (print "extip:" .IP)}}
{{- else}}
# No interface has a public address, so the router is asked. If it does not answer: NAT = "extip:203.0.113.7"
NAT = "any"
{{- end}}

[Mailserver]
# How long mail is kept.
Retention = "30d"

[Push]
# Wake registered devices. docs/providers.md has FCM, APNs, HMS and the others step by step.
Enabled = true

# A device's own connection: it needs no account anywhere.
[[Push.Provider]]
Type = "direct"

# A webhook or UnifiedPush needs none either.
[[Push.Provider]]
Type = "webhook"
{{- if .Contact}}

# Browsers. The key was made for this node; the contact is told to push services.
[[Push.Provider]]
Type = "webpush"
KeyFile = {{q .VAPID}}
Contact = {{q .Contact}}
{{- end}}

[Metrics]
# /metrics, /healthz and /readyz on 127.0.0.1:6060.
Enabled = true

[Status]
# What the node does, on http://127.0.0.1:6061.
Enabled = true
`))

// tomlText is a string in TOML syntax.
func tomlText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}

func quickstart(ctx context.Context, out io.Writer, path, dataDir, ip, contact string) error {
	public, err := publicAddress(ip)
	if err != nil {
		return err
	}
	path, err = filepath.Abs(path) // the user types the printed paths in other directories
	if err != nil {
		return err
	}
	if dataDir, err = filepath.Abs(dataDir); err != nil {
		return err
	}
	_, err = os.Lstat(path)
	kept := err == nil
	if errors.Is(err, fs.ErrNotExist) {
		err = writeStarter(out, path, dataDir, public, contact)
	}
	if err != nil {
		return err
	}
	cfg := config.Defaults()
	if err := config.Load(path, &cfg); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	if kept {
		fmt.Fprintf(out, "kept   %s\n", path)
	}
	nodeKey, pushKey, err := makeKeys(out, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	d := &doctor{out: out, cfg: cfg, free: node.FreeSpace}
	d.examine(ctx)
	fmt.Fprintln(out)
	return printNext(out, path, cfg, nodeKey, pushKey, public, d.bad)
}

// writeStarter writes the settings, and before them the key that they name. After an error it leaves neither behind,
// unless it existed before.
func writeStarter(out io.Writer, path, dataDir string, public netip.Addr, contact string) (err error) {
	values := struct{ Path, DataDir, IP, Contact, VAPID string }{Path: path, DataDir: dataDir, Contact: contact}
	if public.IsValid() {
		values.IP = public.String()
	}
	if contact != "" {
		values.VAPID = filepath.Join(filepath.Dir(path), "vapid.pem")
		made, failed := makeVAPID(values.VAPID)
		if failed != nil {
			return failed
		}
		if made {
			defer func() {
				if err != nil {
					os.Remove(values.VAPID)
				}
			}()
		}
		web := config.Provider{Name: "webpush", Type: "webpush", Options: map[string]any{"KeyFile": values.VAPID, "Contact": contact}}
		if err := tryProvider(web); err != nil {
			return err
		}
		if made {
			fmt.Fprintf(out, "wrote  %s, the key of Web Push\n", values.VAPID)
		}
	}
	var text bytes.Buffer
	if err := starter.Execute(&text, values); err != nil {
		return err
	}
	if err := writeNew(path, text.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "wrote  %s\n", path)
	return nil
}

// makeVAPID writes a VAPID key to path, unless there is one.
func makeVAPID(path string) (made bool, err error) {
	if _, err := os.Lstat(path); err == nil {
		return false, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return false, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return false, err
	}
	return true, writeNew(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// writeNew writes a file that does not exist yet, in full or not at all.
func writeNew(path string, text []byte, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err == nil {
		defer os.Remove(file.Name())
		_, err = file.Write(text)
		err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	}
	if err == nil {
		err = os.Link(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w; name a place that this user may write to", path, err)
	}
	return nil
}

// makeKeys makes the node's missing keys.
func makeKeys(out io.Writer, cfg config.Config) (nodeKey, pushKey *ecdsa.PrivateKey, err error) {
	var keys []*ecdsa.PrivateKey
	files := []node.KeyFile{node.NodeKeyFile(cfg)}
	if cfg.Push.Enabled {
		files = append(files, node.PushKeyFile(cfg), node.DiskKeyFile(cfg))
	}
	for _, file := range files {
		secret, made, err := file.Load()
		if err != nil {
			return nil, nil, err
		}
		did := "kept "
		if made {
			did = "wrote"
		}
		fmt.Fprintf(out, "%s  %s, the %s\n", did, file.Path(), file.What)
		if key, err := crypto.ToECDSA(secret); err == nil {
			keys = append(keys, key)
		}
	}
	if !cfg.Push.Enabled {
		return keys[0], nil, nil
	}
	return keys[0], keys[1], nil
}

// publicAddress is the address of this computer that others on the Internet reach, invalid if it is not known.
func publicAddress(given string) (netip.Addr, error) {
	if given != "" {
		ip, err := netip.ParseAddr(given)
		if err != nil {
			return ip, fmt.Errorf("--extip is %q, which is no IP address; give one such as 203.0.113.7", given)
		}
		return ip, nil
	}
	addrs, _ := net.InterfaceAddrs() // none if they cannot be read
	var found netip.Addr
	for _, addr := range addrs {
		prefix, err := netip.ParsePrefix(addr.String())
		if ip := prefix.Addr(); err == nil && isPublic(ip) && (!found.IsValid() || ip.Is4()) {
			found = ip
		}
	}
	return found, nil
}

// sharedSpace is the address space of carrier-grade NAT.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

func isPublic(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !sharedSpace.Contains(ip)
}

// printNext prints the next steps and what an app needs.
func printNext(out io.Writer, path string, cfg config.Config, nodeKey, pushKey *ecdsa.PrivateKey, public netip.Addr, bad int) error {
	var text strings.Builder
	text.WriteString("Next:\n")
	if bad > 0 {
		fmt.Fprintf(&text, "  1. mend what is BAD above, and repeat this command\n")
	} else {
		fmt.Fprintf(&text, "  1. let port %s through your firewall and router, TCP and UDP\n", portText(cfg.Node.ListenAddr))
	}
	fmt.Fprintf(&text, "  2. run it: wnode --config %s\n     (as a service: deploy/README.md)\n", path)
	fmt.Fprintf(&text, "  3. look at it: wnode health --ready --config %s\n\n", path)

	ip := public
	if !ip.IsValid() {
		ip = netip.MustParseAddr("127.0.0.1")
		text.WriteString("No public address is known, so the enode URL below has this computer's own; repeat with --extip to see the right one.\n\n")
	}
	_, port, _ := net.SplitHostPort(cfg.Node.ListenAddr)
	number, _ := net.LookupPort("tcp", port)
	link := url.Values{}
	enodeURL := enode.NewV4(&nodeKey.PublicKey, net.IP(ip.AsSlice()), number, number).URLv4()
	link.Set("enode", enodeURL)
	fmt.Fprintf(&text, "An app needs:\nenode: %s\n", enodeURL)
	if pushKey != nil {
		link.Set("pushkey", hexutil.Encode(crypto.FromECDSAPub(&pushKey.PublicKey)))
		fmt.Fprintf(&text, "pushkey: %s\n", link.Get("pushkey"))
		providers, _ := node.OpenProviders(cfg.Push.Provider) // the checks above report errors
		for _, vapid := range node.VAPIDKeys(providers) {
			link.Set("vapidkey", vapid.Key)
			fmt.Fprintf(&text, "vapidkey: %s\n", vapid.Key)
		}
		node.CloseProviders(providers)
	}
	whole := "whisperpush://server?" + link.Encode()
	fmt.Fprintf(&text, "All in one: %s\n\n", whole)
	code, err := qr.Encode(whole, qr.L)
	if err != nil {
		return fmt.Errorf("draw the QR code: %w", err)
	}
	drawQR(&text, code.Size, code.Black)
	_, err = io.WriteString(out, text.String())
	return err
}

func portText(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// drawQR draws a code, two of its rows per line of text, light on dark, with the margin that readers need.
func drawQR(w *strings.Builder, size int, black func(x, y int) bool) {
	const margin = 4
	light := func(x, y int) bool { return x < 0 || y < 0 || x >= size || y >= size || !black(x, y) }
	for y := -margin; y < size+margin; y += 2 {
		for x := -margin; x < size+margin; x++ {
			switch top, bottom := light(x, y), light(x, y+1); {
			case top && bottom:
				w.WriteString("█")
			case top:
				w.WriteString("▀")
			case bottom:
				w.WriteString("▄")
			default:
				w.WriteString(" ")
			}
		}
		w.WriteString("\n")
	}
}
