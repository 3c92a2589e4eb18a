package wnode

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/mailserver/archive"
	"whisperpush/pushext"
	"whisperpush/pushext/emulate"
	"whisperpush/pushext/pushwire"
	"whisperpush/wnode/health"
	"whisperpush/wnode/node"
	"whisperpush/wnode/rpc"
)

const (
	// doctorFree is the least free space, in bytes, that doctor accepts: with a full archive a node is no longer a
	// mailserver.
	doctorFree = 1 << 30
	// doctorTimeout bounds one question to a push service.
	doctorTimeout = 15 * time.Second
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "check settings, keys, disk, clock, ports and push services, and say what is wrong",
		UsageText: "wnode doctor [flags of the node] [--canary NAME=ADDRESS[,KEY…]]",
		Description: "Give it the flags, or the --config file, that the node runs with. It changes nothing. For each push service it\n" +
			"pushes a canary: to the address that --canary gives for the provider of that name, which an app ignores, or\n" +
			"else to a made-up one, of which the service says that it is unknown if it believes the server's credentials.\n" +
			"Web Push and web-hooks, whose addresses are URLs, are tried without one on a strict stand-in inside this program.\n" +
			"KEYs, in base64url, are those of a Web Push subscription (p256dh, auth) or a web-hook (secret).\n\n" +
			"It prints a line for each check, and a note for each setting that is allowed and probably not meant. The exit\n" +
			"code is 0 if all is well and 1 if a line begins with BAD.\n\n" +
			"Example:\n   wnode doctor --config /etc/whisperpush/node.toml --canary fcm=dGhlIHRva2Vu…",
		Flags: append(settingFlags(), &cli.StringSliceFlag{Name: "canary", Usage: "push a canary to `NAME=ADDRESS[,KEY…]`; may be repeated"}),
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			cfg, err := settingsOf(c)
			if err != nil {
				return err
			}
			canaries, err := parseCanaries(c.StringSlice("canary"), cfg)
			if err != nil {
				return err
			}
			d := &doctor{out: c.App.Writer, cfg: cfg, canaries: canaries, free: node.FreeSpace}
			d.examine(c.Context)
			if d.bad > 0 {
				return fmt.Errorf("%d of %d checks failed", d.bad, d.checks)
			}
			return nil
		},
	}
}

// doctor is one examination.
type doctor struct {
	out      io.Writer
	cfg      config.Config
	canaries map[string]pushext.Address
	free     func(dir string) (uint64, error) // bytes
	checks   int
	bad      int
}

// report prints one check. err says what is wrong and what to do; nil means that all is well.
func (d *doctor) report(what string, err error, well string, args ...any) {
	d.checks++
	if err != nil {
		d.bad++
		fmt.Fprintf(d.out, "BAD  %s: %v\n", what, err)
		return
	}
	fmt.Fprintf(d.out, "ok   %s: %s\n", what, fmt.Sprintf(well, args...))
}

// examine makes all checks.
func (d *doctor) examine(ctx context.Context) {
	running := d.dataDir()
	d.disk()
	d.keys()
	if running {
		d.report("ports", nil, "not tried, as a node runs")
	} else {
		d.report("ports", rpc.CheckListeners(d.cfg), "free")
	}
	d.settings(ctx)
	if node.WithStore(d.cfg) {
		d.report("database", node.CheckStore(ctx, d.cfg), "fit")
	}
	d.archive()
	if !d.cfg.Push.Enabled {
		d.report("push", nil, "off")
		return
	}
	d.clock(ctx)
	if len(d.cfg.Push.Provider) == 0 {
		d.report("push", errors.New("there is no provider, so nobody can register; add a [[Push.Provider]] table to the --config file"), "")
	}
	for _, p := range d.cfg.Push.Provider {
		d.provider(ctx, p)
	}
}

// settings notes unusual settings, and reports secrets that others can read and bootnodes that cannot help.
func (d *doctor) settings(ctx context.Context) {
	for _, warning := range d.cfg.Warnings() {
		fmt.Fprintf(d.out, "note settings: %s\n", warning)
	}
	for _, file := range node.NamedSecrets(d.cfg) {
		if err := file.Exposed(); err != nil {
			d.report(file.What, err, "")
		}
	}
	d.names(ctx, net.DefaultResolver.LookupNetIP)
}

// names reports nodes of the settings whose names do not resolve, and bootnodes that cannot help.
func (d *doctor) names(ctx context.Context, look node.Lookup) {
	if !d.cfg.Node.NoDiscovery {
		for _, b := range node.CheckBootnodes(ctx, node.ParseNodes(d.cfg.Node.BootstrapNodes), look) {
			if b.Err != nil {
				d.report("bootnodes", fmt.Errorf("the %v %w", b, b.Err), "")
			}
		}
	}
	for i, n := range node.ParseNodes(d.cfg.Node.StaticNodes) {
		if _, err := node.ResolveNode(ctx, n, look); err != nil {
			d.report("static nodes", fmt.Errorf("the static node number %d %w", i+1, err), "")
		}
	}
}

// archive looks for parts that were set aside.
func (d *doctor) archive() {
	parts, err := archive.DamagedParts(node.ArchiveDir(d.cfg))
	if remark := node.AsideRemark(parts); err == nil && remark != "" {
		err = errors.New(remark)
	}
	if err != nil {
		d.report("archive", err, "")
	}
}

// dataDir checks the data directory, and reports whether a node runs in it.
func (d *doctor) dataDir() (running bool) {
	dir := d.cfg.Node.DataDir
	_, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.report("data directory", nil, "%s is made at the first start", dir)
		return false
	case node.CheckDataDir(dir) != nil:
		err = node.CheckDataDir(dir)
	case err == nil:
		if _, missing := os.Stat(filepath.Join(dir, "LOCK")); missing == nil {
			unlock, inUse := node.LockDir(dir)
			if inUse == nil {
				unlock()
			}
			running = inUse != nil
		}
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".doctor-*"); err == nil {
			probe.Close()
			os.Remove(probe.Name())
		} else {
			err = fmt.Errorf("%s cannot be written by this user; run as the node's user, or give it the directory with chown", dir)
		}
	}
	if running {
		d.report("data directory", err, "%s is in use by a running node", dir)
	} else {
		d.report("data directory", err, "%s", dir)
	}
	return running
}

// disk checks the free space where the data directory is or will be.
func (d *doctor) disk() {
	dir := d.cfg.Node.DataDir
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	free, err := d.free(dir)
	switch {
	case err != nil:
		err = fmt.Errorf("the free space of %s cannot be told: %w", dir, err)
	case free < doctorFree:
		err = fmt.Errorf("only %d MiB are free at %s; make room, or set Mailserver.MaxBytes or a shorter --mailserver.retention", free>>20, dir)
	}
	d.report("disk", err, "%d MiB free", free>>20)
}

// keys reads the existing keys. It makes none.
func (d *doctor) keys() {
	nodeKey, err := hex.DecodeString(d.cfg.Node.KeyHex)
	if err != nil || len(nodeKey) == 0 {
		nodeKey = d.key(node.NodeKeyFile(d.cfg))
	}
	if d.cfg.Mailserver.Enabled || d.cfg.Push.Enabled {
		if _, err := node.MailPassword(d.cfg); err != nil {
			d.report("mailserver's password", err, "")
		}
	}
	if !d.cfg.Push.Enabled {
		return
	}
	pushKey := d.key(node.PushKeyFile(d.cfg))
	d.key(node.DiskKeyFile(d.cfg))
	if nodeKey != nil && bytes.Equal(nodeKey, pushKey) {
		d.report("push key", fmt.Errorf("%s %w", node.PushKeyFile(d.cfg).Path(), node.ErrOneKey), "")
	}
}

// key checks one key, and returns it if it exists.
func (d *doctor) key(k node.KeyFile) []byte {
	if err := k.Missing(); err != nil {
		d.report(k.What, err, "")
		return nil
	}
	secret, err := k.Read()
	if errors.Is(err, fs.ErrNotExist) {
		d.report(k.What, nil, "made at the first start")
		return nil
	}
	if err == nil {
		err = node.SecretFile{What: k.What, Path: k.Path()}.Exposed()
	}
	d.report(k.What, err, "%s", k.Path())
	return secret
}

// clock compares the clock with that of a push service, because the two must agree.
func (d *doctor) clock(ctx context.Context) {
	for _, p := range d.cfg.Push.Provider {
		there, ok := node.ServiceClock(ctx, []config.Provider{p})
		if !ok {
			continue
		}
		var err error
		if skew := time.Since(there); skew.Abs() > health.MostSkew {
			err = fmt.Errorf("this computer's clock is %v off that of provider %s; turn on time synchronisation (timedatectl set-ntp true)", skew.Round(time.Second), p.Name)
		}
		d.report("clock", err, "agrees with provider %s", p.Name)
		return
	}
	d.report("clock", nil, "not checked, as no push service tells the time")
}

// madeUp is an address in the form of a push service that no device has; empty for services whose addresses are URLs,
// because such a URL is the only place to ask.
func madeUp(p config.Provider) string {
	kind := p.Type
	if kind == "gorush" { // it passes addresses on
		kind = "fcm"
		if p.Option("Platform") == "ios" {
			kind = "apns"
		}
	}
	raw := make([]byte, 128)
	rand.Read(raw) // never fails
	text := base64.RawURLEncoding.EncodeToString(raw)
	switch kind {
	case "fcm":
		return text[:22] + ":APA91b" + text[22:156]
	case "apns":
		return hex.EncodeToString(raw[:32])
	case "hms":
		return "IQAAAA" + text[:120]
	case "pushy":
		return hex.EncodeToString(raw[:11])
	}
	return ""
}

// provider opens a provider and pushes a canary through it.
func (d *doctor) provider(ctx context.Context, p config.Provider) {
	what := "provider " + p.Name
	opened, err := node.OpenProviders([]config.Provider{p})
	if err != nil {
		d.report(what, err, "")
		return
	}
	defer node.CloseProviders(opened)
	for _, vapid := range node.VAPIDKeys(opened) {
		d.report(what, nil, "its VAPID public key, with which an app subscribes, is %s", vapid.Key)
	}
	if p.Type == "direct" {
		d.report(what, nil, "needs no push service; wnode device register --direct tries it with the running node")
		return
	}
	address, real := d.canaries[p.Name]
	if !real {
		address.Token = madeUp(p)
	}
	if address.Token == "" {
		d.report(what, rehearse(ctx, p), "a push arrived at a stand-in inside this program; give --canary %s=ADDRESS,KEY… to push to a device", p.Name)
		return
	}
	if err := opened[0].Check(address); err != nil {
		d.report(what, fmt.Errorf("the canary's address cannot be right: %w", err), "")
		return
	}
	if err := examineProvider(ctx, opened[0]); err != nil {
		d.report(what, err, "")
		return
	}
	began := time.Now()
	v, err := pushCanary(ctx, opened[0], address)
	if err != nil {
		d.report(what, err, "")
		return
	}
	took := time.Since(began).Round(time.Millisecond)
	if real {
		d.report(what, verdictHelp(v), "accepted a canary in %v", took)
		return
	}
	// A made-up address is unknown; a service that says so has believed the server.
	if v.Class == pushext.TokenDead || v.Class == pushext.MessageBad || unknownAddress(v.Reason) {
		d.report(what, nil, "believes this server (%s to a made-up address, in %v)", v.Reason, took)
		return
	}
	d.report(what, verdictHelp(v), "accepted a canary to a made-up address in %v", took)
}

// examineProvider makes a provider ask its service whether it can be used, if it is able to.
func examineProvider(ctx context.Context, p pushext.Provider) error {
	asks, ok := p.(interface{ Examine(context.Context) error })
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	return asks.Examine(ctx)
}

// pushCanary pushes a message that apps ignore.
func pushCanary(ctx context.Context, through pushext.Provider, to pushext.Address) (pushext.Verdict, error) {
	body, err := pushwire.PlainPayload(pushwire.Payload{Kind: pushwire.Canary})
	if err != nil {
		return pushext.Verdict{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	return through.Push(ctx, pushext.Notification{
		Address: to, Body: body, CollapseID: "canary", TTL: time.Minute, Urgent: true, ID: "canary",
	}), nil
}

// rehearse pushes, with a provider's keys, to a strict service of its type on this computer, which checks signature,
// encryption and form. It is for types whose addresses are URLs: the operator has no service to ask.
func rehearse(ctx context.Context, p config.Provider) error {
	stage, err := emulate.Start(p.Type, "")
	if err != nil {
		return err
	}
	defer stage.Close()
	device, err := stage.NewDevice()
	if err != nil {
		return err
	}
	p = p.WithOption("AllowHTTP", true).WithOption("AllowPrivate", true)
	opened, err := node.OpenProviders([]config.Provider{p})
	if err != nil {
		return err
	}
	defer node.CloseProviders(opened)
	v, err := pushCanary(ctx, opened[0], pushext.Address{Token: device.Address, Keys: device.Keys})
	if err == nil && v.Class != pushext.Delivered {
		err = fmt.Errorf("a strict service refuses its pushes (%s); compare the provider's settings with docs/providers.md", v.Reason)
	}
	return err
}

// unknownAddress recognises verdicts about an address that are not acted on because they might be mistaken.
func unknownAddress(reason string) bool {
	for _, part := range []string{"BadDeviceToken", "INVALID_ARGUMENT", "80300007", "80100000", "gorush not found"} {
		if strings.Contains(reason, part) {
			return true
		}
	}
	return false
}

// verdictHelp says in plain words what is wrong and what to do; nil for an accepted canary.
func verdictHelp(v pushext.Verdict) error {
	switch v.Class {
	case pushext.Delivered:
		return nil
	case pushext.ProviderBroken:
		return fmt.Errorf("it refuses this server (%s); %s", v.Reason, v.Remedy())
	case pushext.RetryAt:
		return fmt.Errorf("it asks to come back at %s (%s); %s", v.At.Format(time.TimeOnly), v.Reason, v.Remedy())
	case pushext.TokenDead:
		return fmt.Errorf("the canary's device is gone (%s); %s. A registration is in doubt by such an answer, and ends once the service accepts pushes for others", v.Reason, v.Remedy())
	case pushext.MessageBad:
		return fmt.Errorf("it refuses the canary's form (%s); %s", v.Reason, v.Remedy())
	}
	return fmt.Errorf("there is no usable answer (%s); %s", v.Reason, v.Remedy())
}

// canaryKeys is how many keys an address has, by type of provider.
var canaryKeys = map[string]int{"webpush": 2, "webhook": 1}

// parseCanary reads ADDRESS[,KEY…]. The address is a URL and may contain commas: with more commas than the type has
// keys, the keys are the last parts.
func parseCanary(text string, keys int) (pushext.Address, error) {
	parts := strings.Split(text, ",")
	if keys == 0 {
		return pushext.Address{Token: text}, nil
	}
	first := max(len(parts)-keys, 1)
	address := pushext.Address{Token: strings.Join(parts[:first], ",")}
	for i, part := range parts[first:] {
		key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
		if err != nil || len(key) == 0 {
			return pushext.Address{}, fmt.Errorf("has a key, number %d, that is not base64url; its form is ADDRESS%s", i+1, strings.Repeat(",KEY", keys))
		}
		address.Keys = append(address.Keys, key)
	}
	return address, nil
}

// parseCanaries reads --canary: NAME=ADDRESS[,KEY…].
func parseCanaries(list []string, cfg config.Config) (map[string]pushext.Address, error) {
	kinds := make(map[string]string)
	for _, p := range cfg.Push.Provider {
		kinds[p.Name] = p.Type
	}
	canaries := make(map[string]pushext.Address)
	for i, text := range list {
		name, rest, ok := strings.Cut(text, "=")
		if !ok || rest == "" {
			return nil, fmt.Errorf("--canary number %d is not of the form NAME=ADDRESS[,KEY…]", i+1)
		}
		if kinds[name] == "direct" {
			return nil, fmt.Errorf("--canary is for %q, whose devices only the running node can ring; try it with wnode device register --direct", name)
		}
		if kinds[name] == "" {
			return nil, fmt.Errorf("--canary is for %q, and no [[Push.Provider]] has that name", name)
		}
		address, err := parseCanary(rest, canaryKeys[kinds[name]])
		if err != nil {
			return nil, fmt.Errorf("--canary for %q %w", name, err)
		}
		canaries[name] = address
	}
	return canaries, nil
}
