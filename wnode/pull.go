package wnode

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/urfave/cli/v2"

	"whisperpush/config"
	"whisperpush/mailserver/mailclient"
	"whisperpush/mailserver/mailwire"
	"whisperpush/whisper"
	"whisperpush/whisper/uplink"
	"whisperpush/wnode/node"
)

const (
	// pullWindow is the range of sent time that one classic request covers. A mailserver answers for at most a day, and
	// does not say when it has cut an answer off.
	pullWindow = 6 * time.Hour
	// pullPage is the most envelopes on a page of a status-go mailserver.
	pullPage = 1000
	// pullQuiet is how long a silence ends an answer that has no end mark.
	pullQuiet = 3 * time.Second
)

func pullCommand() *cli.Command {
	return &cli.Command{
		Name: "pull", Usage: "archive what a mailserver that runs elsewhere has and the archive has not",
		UsageText: "wnode archive pull --server ENODE [flags]",
		Description: "The mailserver is asked as a client asks it. --form sequence is for one of this project, and asks for all that it has\n" +
			"whatever it was sent; status is for one of status-go's, a page at a time; classic is for go-ethereum's, six hours of sent\n" +
			"time at a time. With --form sync one of status-go's is asked as such a mailserver asks another one, which needs no\n" +
			"password. Nobody is woken for what had expired. It may be interrupted and repeated: what is known is not archived\n" +
			"again, and --form sync goes on where it was.\n\n" +
			"Example:\n   wnode archive pull --datadir /var/lib/whisperpush --server enode://… --form classic --since 30d",
		Flags: append(settingFlags(), jsonFlag(),
			&cli.StringFlag{Name: "server", Usage: "`ENODE` URL of the mailserver"},
			&cli.StringFlag{Name: "form", Usage: "ask in this `FORM`: sequence, status, classic or sync", Value: "sequence"},
			&cli.StringFlag{Name: "password", Usage: "`FILE` with the mailserver's password (default: the password status-offline-inbox, or for --form sequence the key in --server)"},
			&cli.StringFlag{Name: "since", Usage: "ask for what was sent since so long, an `AGE` such as 30d; not with --form sequence", Value: "30d"}),
		Action: pullAction,
	}
}

func pullAction(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	server, err := nodeFlag(c, "server")
	if err != nil {
		return err
	}
	p := puller{form: c.String("form"), server: mailclient.Server{ID: server.ID(), PublicKey: server.Pubkey()}}
	if !slices.Contains([]string{"sequence", "status", "classic", "sync"}, p.form) {
		return fmt.Errorf("--form is %q; give sequence, status, classic or sync", p.form)
	}
	if p.form == "sync" && c.String("password") != "" {
		return errors.New("--password is not asked for with --form sync")
	}
	p.place = pullPlace(c, server)
	age, err := config.ParseDuration(c.String("since"))
	if err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	if p.since = time.Now().Add(-time.Duration(age)); age == 0 {
		p.since = time.Unix(0, 0)
	}
	if path := c.String("password"); path != "" || p.form != "sequence" {
		password := config.DefaultPassword
		if path != "" {
			if password, err = node.ReadPassword(path, "--password"); err != nil {
				return err
			}
		}
		p.server.Key, p.server.PublicKey = whisper.KeyFromPassword(password), nil
	}
	err = withKeeper(c, func(k keeper) error { return p.run(c.Context, server, k) })
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, p.report)
	}
	return printTable(c.App.Writer,
		[]string{"read", strconv.Itoa(p.report.Read)}, []string{"archived", strconv.Itoa(p.report.Archived)}, []string{"known already", strconv.Itoa(p.report.Known)},
		[]string{"older than is kept", strconv.Itoa(p.report.TooOld)}, []string{"refused", strconv.Itoa(p.report.Refused)})
}

// puller requests the mail of a mailserver.
type puller struct {
	form   string
	since  time.Time
	server mailclient.Server
	place  importPlace // of a sync
	report importReport
}

func (p *puller) run(ctx context.Context, server *enode.Node, k keeper) error {
	mail := mailclient.New(mailclient.Config{Quiet: pullQuiet})
	link, err := whisper.NewNode(whisper.Config{Bloom: new(whisper.Bloom), LightNode: true, Direct: mail})
	if err != nil {
		return err
	}
	if err := link.Start(); err != nil {
		return err
	}
	defer link.Stop()
	mail.Attach(link)
	link.Trust(server.ID())
	up, err := dialUntil(ctx, uplink.Config{Node: link, Server: server, Name: node.ClientName()})
	if err != nil {
		return fmt.Errorf("there is no connection to the mailserver at --server: %w; is it running, and is the enode URL right?", err)
	}
	defer up.Close()
	take := func(envs []*whisper.Envelope) error { return p.take(ctx, envs, k) }
	switch p.form {
	case "sequence":
		_, err = mail.Collect(ctx, p.server, mailclient.Since(mailwire.Cursor{}), take)
	case "status":
		_, err = mail.Collect(ctx, p.server, mailwire.Request{
			Form: mailwire.List, Lower: uint32(p.since.Unix()), Upper: uint32(time.Now().Unix()), Limit: pullPage,
		}, take)
	case "sync":
		err = p.sync(ctx, mail, k)
	default:
		err = p.classic(ctx, mail, take)
	}
	var refused *mailclient.RefusedError
	switch {
	case errors.As(err, &refused) && p.form == "sync":
		return fmt.Errorf("the mailserver refuses to be synced from: %w; what came before is archived, and the same command goes on from there", err)
	case errors.As(err, &refused):
		return fmt.Errorf("the mailserver refuses the request: %w; is the password the right one?", err)
	case errors.Is(err, mailclient.ErrTimeout):
		return fmt.Errorf("the mailserver does not answer: %w; is the password the right one, and --form what it understands?", err)
	}
	return err
}

// classic requests one range of sent time after another, oldest first.
func (p *puller) classic(ctx context.Context, mail *mailclient.Client, take func([]*whisper.Envelope) error) error {
	if p.since.Unix() == 0 {
		return errors.New("--since 0 is for ever, which takes too many classic requests; give an age, such as 90d")
	}
	for from := p.since; from.Before(time.Now()); from = from.Add(pullWindow) {
		answer, err := mail.Ask(ctx, p.server, mailwire.Request{
			Form: mailwire.Classic, Lower: uint32(from.Unix()), Upper: uint32(from.Add(pullWindow).Unix() - 1),
		})
		if err != nil {
			return err
		}
		if err := take(answer.Envelopes); err != nil {
			return err
		}
	}
	return nil
}

// sync requests one page after another, as one status-go mailserver does from another. It saves its place until it is
// complete. A later attempt continues there, and then requests what was sent since the earlier attempt began.
func (p *puller) sync(ctx context.Context, mail *mailclient.Client, k keeper) error {
	stretch := mailwire.SyncRequest{Lower: uint32(p.since.Unix()), Upper: uint32(time.Now().Unix()), Limit: mailwire.MaxSyncLimit}
	stretches := []mailwire.SyncRequest{stretch}
	if upper, cursor, ok := parseSyncPlace(p.place.load()); ok && upper >= stretch.Lower && upper <= stretch.Upper {
		p.report.Resumed = true
		begun := stretch
		begun.Upper, begun.Cursor = upper, cursor
		stretch.Lower = max(stretch.Lower, upper-min(upper, syncOverlap))
		stretches = []mailwire.SyncRequest{begun, stretch}
	}
	for _, r := range stretches {
		err := mail.Sync(ctx, p.server.ID, r, func(page mailclient.Page) error {
			p.report.Read += page.Damaged
			p.report.Refused += page.Damaged
			if page.Damaged > 0 {
				p.report.Example = "what is no envelope, in a page of the mailserver"
			}
			if err := p.take(ctx, page.Envelopes, k); err != nil {
				return err
			}
			p.place.save(syncPlace(r.Upper, page.Cursor))
			return nil
		})
		if err != nil {
			return err
		}
	}
	p.place.done()
	return nil
}

// syncOverlap is how far before the end of an interrupted sync the next one begins, in seconds of sent time: mail
// arrives late.
const syncOverlap = 3600

// syncPlace is how far a sync has come: the upper end of its range, and the cursor of the page archived last; nil after
// the last page.
func syncPlace(upper uint32, cursor []byte) []byte {
	if len(cursor) == 0 {
		return nil
	}
	return append(binary.BigEndian.AppendUint32(nil, upper), cursor...)
}

func parseSyncPlace(b []byte) (upper uint32, cursor []byte, ok bool) {
	if len(b) <= 4 || len(b) > 4+mailwire.MaxSyncCursor {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(b), b[4:], true
}

// pullPlace is where the place of a sync from a mailserver is saved.
func pullPlace(c *cli.Context, server *enode.Node) importPlace {
	cfg, _, _ := readSettings(c)
	sum := sha256.Sum256([]byte("sync from " + server.ID().String()))
	return importPlace{filepath.Join(cfg.Node.DataDir, "import-"+hex.EncodeToString(sum[:8]))}
}

// take archives envelopes that arrived.
func (p *puller) take(ctx context.Context, envs []*whisper.Envelope, k keeper) error {
	p.report.Read += len(envs)
	for len(envs) > 0 {
		var raws [][]byte
		size := 0
		for len(envs) > 0 && len(raws) < importRecords && size < importBytes {
			raws = append(raws, envs[0].Raw())
			size += len(envs[0].Raw())
			envs = envs[1:]
		}
		taken, err := k.TakeEnvelopes(ctx, raws)
		if err != nil {
			return err
		}
		p.report.add(taken)
	}
	return nil
}

// add adds the results for some envelopes.
func (r *importReport) add(taken node.TakeReport) {
	r.Archived += taken.Archived
	r.Known += taken.Known
	r.TooOld += taken.TooOld
	r.Refused += taken.Refused
}
