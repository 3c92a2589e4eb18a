package pushext

import (
	"math"
	"time"
)

// pace is the budget of a lane's attempts that a rate allows: evenly, and what was
// saved up while nothing was sent is a tenth of a second's worth at most. So no
// window of length t sees more than rate·(t + 0.1 s) attempts, or one more where
// that is less, whatever has piled up meanwhile. 0 and less is no bound.
func pace(rate float64) Budget {
	if rate <= 0 {
		return Budget{}
	}
	return Budget{
		Burst: max(1, int(rate/10)),
		Every: time.Duration(math.Ceil(float64(time.Second) / rate)),
	}
}

// pace is that of each of a provider's lanes.
func (d *Delivery) pace(p Provider) Budget {
	rate, set := d.Rates[p.Name()]
	if paced, ok := p.(Paced); ok && !set {
		rate = paced.Rate()
	}
	return pace(rate)
}
