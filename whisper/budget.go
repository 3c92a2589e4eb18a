package whisper

import "time"

// budget is a token bucket that may go into debt: a packet cannot be unread, so
// the reader waits until the debt is paid. It is owned by one goroutine.
type budget struct {
	rate   float64 // tokens a second, and the most that the bucket holds; 0: no limit
	tokens float64
	last   time.Time
}

func newBudget(rate float64, now time.Time) budget {
	return budget{rate: rate, tokens: rate, last: now}
}

// spend takes n tokens and returns how long to wait, at most maxThrottle.
func (b *budget) spend(n int, now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	saved := max(now.Sub(b.last).Seconds(), 0) * b.rate
	b.last = now
	b.tokens = min(b.tokens+saved, b.rate) - float64(n)
	b.tokens = max(b.tokens, -maxThrottle.Seconds()*b.rate)
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}
