package simulate

import "time"

// What a phone pays. Bytes are as `make bench` and `make slo` measured them with the real
// SDK (docs/performance.md, "The promise of 15 seconds").
const (
	// pushBytes is one wake-up from a push service: 1,219 bytes of pushes per message at
	// 0.978 wake-ups per message. Its size does not depend on what it names.
	pushBytes = 1246

	// coldFetchBytes is a fetch by an app that was just woken, without the envelopes: 4,034
	// bytes on the link per message at 0.978 wake-ups, less one envelope. It consists of
	// the handshakes, the request and the reply.
	coldFetchBytes = 4125 - envelopeBytes

	// askBytes is a request and its reply over a standing link: each has the smallest size
	// class, 1,170 bytes in its envelope (docs/groups.md).
	askBytes = 2 * 1170

	// envelopeBytes is one envelope on the link: 302 bytes (docs/groups.md), plus framing
	// and MAC of RLPx, and the headers of TCP and IP.
	envelopeBytes = 302 + 48 + 52

	// ringBytes is a wake-up over the device's own link: the size class of a reply.
	ringBytes = 1170

	// pingBytes is a ping and a pong in both directions, and their acknowledgements: four
	// frames of 48 bytes in packets with headers of 52. Each end pings every 15 s.
	pingBytes  = 4*(48+52) + 4*52
	pingsEvery = 15 * time.Second

	// tail is how long a phone's LTE radio stays on after the last packet, 11.6 s, and
	// promotion is how long it takes to come up, 0.26 s. Huang et al. measured both in "A
	// close examination of performance and power characteristics of 4G LTE networks"
	// (MobiSys 2012). Later networks set 10 s and more.
	tail      = 11576 * time.Millisecond
	promotion = 260 * time.Millisecond

	// pushLatency is the time from a push service's acceptance to the phone. fetchTime is
	// the time from there until the envelopes are decrypted: half a second of round trips
	// over 4G for TCP, RLPx, shh and the request, and the app's own start.
	pushLatency = 300 * time.Millisecond
	fetchTime   = time.Second

	// doze is how long a dozing phone holds back what is not urgent, unless it wakes for
	// something else before. Android's maintenance windows are an hour apart at first,
	// growing to six. They are the platform's own, for all apps, so what arrives in one
	// costs its bytes but no radio.
	doze = time.Hour
)

// What people do. These are assumptions, of the order that surveys report: some 50 messages
// a day on a phone, and two dozen looks into messengers. Means are of lognormal
// distributions where a spread is given: a few people get very many messages.
const (
	secondDevice = 0.3 // of people also have a tablet or a computer

	chatsEach       = 6    // chats of two, on average, geometric
	chatMedian      = 10.0 // messages a day in all chats of two together
	chatSpread      = 1.0  // sigma of its logarithm: the mean is 16
	chatBurst       = 5.0  // messages that follow each other, on average, geometric
	chatGap         = 25 * time.Second
	joins           = 0.5 // of bursts in chats of two are read as they arrive, to their end, if they last long enough
	joinAfter       = time.Minute
	chatMuted       = 0.02
	smallGroup      = 20
	smallEach       = 2.0 // such groups a person is in, on average
	smallMedian     = 5.0 // messages a day in one; the mean is 8
	smallMuted      = 0.15
	largeGroup      = 200
	largeEach       = 0.5
	largeMedian     = 20.0 // the mean is 33
	largeMuted      = 0.5
	groupSpread     = 1.0
	groupBurst      = 8.0
	groupGap        = 12 * time.Second
	smallMention    = 0.05 // of messages in a group of 20 mention one member
	largeMention    = 0.1  // of those in a group of 200
	looksEach       = 20.0 // times a day that the user opens the app unprompted, Poisson
	lookMedian      = 45 * time.Second
	lookSpread      = 0.8
	onSecond        = 0.25 // of looks are on the second device
	reachedFor      = 6 * time.Hour
	unreachedFor    = 8 * time.Minute // in a tunnel, in flight mode, or restarting
	secondReached   = 2 * time.Hour
	secondUnreached = 4 * time.Hour // switched off, or outside the home network
)

// hours are how much people write and look in each hour of the day.
var hours = [24]float64{2, 1, 1, 1, 1, 2, 5, 9, 10, 10, 10, 10, 11, 11, 10, 10, 10, 11, 12, 13, 13, 12, 9, 5}
