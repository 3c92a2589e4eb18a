package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/config"
	"whisperpush/pushext"
	"whisperpush/pushext/pushserver"
)

func TestPushDelivery(t *testing.T) {
	p := config.Defaults().Push
	p.Provider = []config.Provider{
		{Name: "fcm", Type: "fcm"},
		{Name: "rare", Type: "fcm", Every: config.Duration(time.Minute)},
		{Name: "few", Type: "apns", Burst: 3, Rate: 50},
		{Name: "any", Type: "fcm", Rate: config.NoRate},
	}
	require.Equal(t, pushserver.Delivery{
		TTL:         24 * time.Hour,
		SilentAfter: 30,
		LadderDelay: 30 * time.Second,
		LinkDelay:   5 * time.Second,
		FanOut:      100_000,
		Budget:      pushext.Budget{Burst: 20, Every: 10 * time.Second},
		Budgets: map[string]pushext.Budget{
			"rare": {Burst: 20, Every: time.Minute},
			"few":  {Burst: 3, Every: 10 * time.Second},
		},
		Rates: map[string]float64{"few": 50, "any": -1},
	}, pushDelivery(p))

	p.Delivery.Jitter, p.Delivery.Batch = config.Duration(time.Second), config.Duration(2*time.Second)
	require.Equal(t, time.Second, pushDelivery(p).Jitter)
	require.Equal(t, 2*time.Second, pushDelivery(p).Batch)

	p.Delivery.FanOut = 0
	require.Negative(t, pushDelivery(p).FanOut, "0 is no bound")
	p.Delivery.SilentAfter = 0
	require.Negative(t, pushDelivery(p).SilentAfter, "0 is never")
	require.Negative(t, pushLimits(config.Limits{}).PoW, "0 is none")
}
