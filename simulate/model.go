package simulate

import "time"

// What a phone pays. Bytes are those that make bench and make slo measured with the real
// SDK (docs/performance.md, "The promise of 15 seconds").
const (
	// pushBytes is one wake-up from a push service: 1,219 bytes of pushes a message at
	// 0.978 wake-ups a message. It has the same size whatever it names.
	pushBytes = 1246

	// coldFetchBytes is a fetch by an app that was just woken, without the envelopes:
	// 4,034 bytes of the link a message at 0.978 wake-ups, less one envelope. It is the
	// handshakes, the request and the reply.
	coldFetchBytes = 4125 - envelopeBytes

	// askBytes is a request and its reply over a link that stands: each of the smallest
	// size class in its envelope, 1,170 bytes (docs/groups.md).
	askBytes = 2 * 1170

	// envelopeBytes is one envelope on the link: 302 bytes (docs/groups.md), framing and MAC
	// of RLPx, and the headers of TCP and IP.
	envelopeBytes = 302 + 48 + 52

	// ringBytes is a wake-up over the device's own link: a reply's size class.
	ringBytes = 1170

	// pingBytes are a ping and a pong both ways, and their acknowledgements: four frames of
	// 48 bytes in packets with headers of 52. Either end pings every 15 s.
	pingBytes  = 4*(48+52) + 4*52
	pingsEvery = 15 * time.Second

	// tail is for how long a phone's LTE radio stays on after the last packet: 11.6 s, and
	// promotion how long it takes to come up, 0.26 s, both as Huang et al. measured in "A
	// close examination of performance and power characteristics of 4G LTE networks"
	// (MobiSys 2012). Later networks set 10 s and more.
	tail      = 11576 * time.Millisecond
	promotion = 260 * time.Millisecond

	// pushLatency is from a push service's acceptance to the phone, and fetchTime from there
	// until the envelopes are decrypted: half a second of round trips over 4G for TCP,
	// RLPx, shh and the request, and the app's own start.
	pushLatency = 300 * time.Millisecond
	fetchTime   = time.Second

	// doze is for how long a dozing phone holds back what is not urgent, unless it is
	// awake for something else before: Android's maintenance windows are an hour apart at
	// first and grow to six. They are the platform's own, for all apps, so what comes in one
	// costs its bytes and no radio.
	doze = time.Hour
)

// What people do. They are assumptions, of the order of what surveys tell: some 50 messages a
// day on a phone, and two dozen looks into messengers. Means are of lognormal
// distributions where a spread is given: a few people get very much.
const (
	secondDevice = 0.3 // of people have a tablet or a computer besides

	chatsEach       = 6    // chats of two, on average, geometric
	chatMedian      = 10.0 // messages a day in all chats of two together
	chatSpread      = 1.0  // sigma of its logarithm: the mean is 16
	chatBurst       = 5.0  // messages that follow each other, on average, geometric
	chatGap         = 25 * time.Second
	joins           = 0.5 // of bursts in chats of two are read as they come, to their end
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
	looksEach       = 20.0 // times a day that the app is opened by itself, Poisson
	lookMedian      = 45 * time.Second
	lookSpread      = 0.8
	onSecond        = 0.25 // of looks are at the second device
	reachedFor      = 6 * time.Hour
	unreachedFor    = 8 * time.Minute // in a tunnel, in flight mode, restarting
	secondReached   = 2 * time.Hour
	secondUnreached = 4 * time.Hour // switched off, or out of the house's network
)

// hours are how much is written and looked at in each hour of the day.
var hours = [24]float64{2, 1, 1, 1, 1, 2, 5, 9, 10, 10, 10, 10, 11, 11, 10, 10, 10, 11, 12, 13, 13, 12, 9, 5}
