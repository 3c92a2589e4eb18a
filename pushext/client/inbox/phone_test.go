package inbox

import (
	"errors"
	"maps"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"whisperpush/pushext/client"
)

// phone is one phone of a history: the platform, and the process on it.
type phone struct {
	id int

	// On the phone, whatever process runs.
	disk    *disk
	tray    map[common.Hash]Notification
	badge   int
	loud    map[common.Hash]int // how often something sounded for a message
	chats   []client.Chat       // that the app gives at its start
	offline bool
	lister  bool // it tells what it has
	ios     bool // a badge of 0 takes all notifications away
	lost    bool // the tray, and the app has not said so
	backups []backup

	// The process.
	inbox *Inbox
	left  int // calls until the process ends; 0: it does not
	torn  int // what of the last write is on the disk, in thousandths
	dead  bool
}

// backup is what a phone keeps: the inbox's file, and what the device keeps.
type backup struct {
	disk   []byte
	device any
}

// step is a moment at which the process may end.
func (p *phone) step() error {
	if p.dead {
		return errCrash
	}
	if p.left > 0 {
		if p.left--; p.left == 0 {
			p.dead = true
			return errCrash
		}
	}
	return nil
}

var errNetwork = errors.New("no network")

// asked is step for what needs the network.
func (p *phone) asked() error {
	if err := p.step(); err != nil {
		return err
	}
	if p.offline {
		return &client.GaveUpError{What: "anything", Attempts: 1, Cause: errNetwork}
	}
	return nil
}

func (p *phone) Show(n Notification) error {
	if err := p.step(); err != nil {
		return err
	}
	p.tray[n.ID] = n
	if n.Manner != Quiet {
		p.loud[n.ID]++
	}
	return p.step()
}

func (p *phone) Remove(id common.Hash) error {
	if err := p.step(); err != nil {
		return err
	}
	delete(p.tray, id)
	return p.step()
}

func (p *phone) SetBadge(n int) error {
	if err := p.step(); err != nil {
		return err
	}
	p.badge = n
	if n == 0 && p.ios {
		clear(p.tray)
	}
	return p.step()
}

// listingPhone is a phone whose platform tells what it has.
type listingPhone struct{ *phone }

func (p listingPhone) Displayed() ([]common.Hash, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(p.tray)), nil
}
