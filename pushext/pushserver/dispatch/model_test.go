package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"whisperpush/durable/faultstore"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver/registration"
)

// TestModel does anything in any order (matches, fetches, failing providers,
// restarts, power cuts, pauses) and checks invariant 2 of the design at the end:
// every match was fetched, or a wake-up for it was accepted, and repeated at
// most once for each crash.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const devices = 3
		script := rapid.SliceOfN(rapid.IntRange(0, 99), 1, 60).Draw(rt, "script")
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			scripted := &scripted{name: "fcm"}
			p := &cut{scripted: scripted}
			r := newRig(t, Delivery{SilentAfter: -1, Budget: pushext.Budget{Burst: 1000, Every: time.Millisecond}}, p)
			o := &oracle{archived: make(map[string][]common.Hash), fetched: make(map[common.Hash]bool)}
			var topics [devices][4]byte
			for i := range topics {
				topics[i] = r.device(registration.ID(i+1), fmt.Sprintf("fcm token-%d", i+1))
			}
			r.start()
			for _, op := range script {
				i := op % devices
				token := fmt.Sprintf("token-%d", i+1)
				switch {
				case op < 50:
					o.archived[token] = append(o.archived[token], r.log.Archive(topics[i]))
				case op < 60:
					time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
				case op < 70: // the newest, if the device was told
					synctest.Wait()
					if got := scripted.to(token); len(got) > 0 {
						hashes := got[len(got)-1].Payload.Hashes
						require.NoError(t, r.box.Fetched(registration.ID(i+1), hashes, false))
						for _, h := range hashes {
							o.fetched[h] = true
						}
					}
				case op < 80:
					class := []pushext.Class{pushext.Delivered, pushext.Retry, pushext.RetryAt, pushext.ProviderBroken}[rng.IntN(4)]
					scripted.set(func(context.Context, pushext.Notification) pushext.Verdict {
						return pushext.Verdict{Class: class, At: time.Now().Add(5 * time.Second), Reason: class.String()}
					})
				case op < 85:
					time.Sleep(time.Duration(rng.IntN(60)) * time.Second)
				case op < 90:
					scripted.set(nil)
				case op < 95:
					r.stop()
					r.start()
				default:
					p.off.Store(true)
					left := r.disk.(*faultstore.Store).Disk().Crash(rng).Store("db")
					r.stop()
					p = &cut{scripted: scripted}
					r = r.crashed(left, p)
					r.start()
					o.crashes++
				}
			}
			scripted.set(nil)
			time.Sleep(10 * time.Minute)
			o.check(t, scripted)
			r.stop()
		})
	})
}
