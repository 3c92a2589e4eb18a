package dispatch

import (
	"math"
	"time"

	"whisperpush/pushext"
)

// pace is the budget of a lane's attempts that a rate allows: evenly spaced, with at most
// a tenth of a second's worth saved up while nothing was sent. So no window of length t
// sees more than rate·(t + 0.1 s) attempts, or one more where that is less, whatever has
// piled up meanwhile. 0 and less is no bound.
func pace(rate float64) pushext.Budget {
	if rate <= 0 {
		return pushext.Budget{}
	}
	return pushext.Budget{
		Burst: max(1, int(rate/10)),
		Every: time.Duration(math.Ceil(float64(time.Second) / rate)),
	}
}

// pace is the budget of each lane of a provider.
func (d *Delivery) pace(p pushext.Provider) pushext.Budget {
	rate, set := d.Rates[p.Name()]
	if paced, ok := p.(pushext.Paced); ok && !set {
		rate = paced.Rate()
	}
	return pace(rate)
}
