package simulate

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"whisperpush/whisper"
)

// span is a time that includes its first moment and excludes its last.
type span struct{ from, to time.Duration }

// spans do not overlap, and are in order.
type spans []span

// at returns the span that contains a moment.
func (s spans) at(t time.Duration) (span, bool) {
	i := sort.Search(len(s), func(i int) bool { return s[i].to > t })
	if i < len(s) && s[i].from <= t {
		return s[i], true
	}
	return span{}, false
}

func (s spans) hold(t time.Duration) bool {
	_, ok := s.at(t)
	return ok
}

// join sorts spans and merges those that overlap.
func join(s spans) spans {
	slices.SortFunc(s, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	joined := s[:0]
	for _, next := range s {
		if n := len(joined); n > 0 && next.from <= joined[n-1].to {
			joined[n-1].to = max(joined[n-1].to, next.to)
			continue
		}
		joined = append(joined, next)
	}
	return joined
}

// message is one envelope that was written to a chat.
type message struct {
	at      time.Duration
	topic   whisper.Topic
	mention whisper.Topic // of the member who is mentioned
	names   bool          // it mentions somebody
	author  int           // a person of the district; -1: somebody else
}

// chat is one of a person's chats.
type chat struct {
	topic, mention whisper.Topic // in a group, mention is the person's own
	group, muted   bool
}

type person struct {
	first, second int // devices; second is -1 if there is none
	chats         []chat
}

type device struct {
	owner int
	looks spans // when the app is in the foreground
	talks spans // those of looks during which a chat is read as it is written
	away  spans // when no push reaches it
}

// look is a time during which the app is in the foreground.
type look struct {
	span
	talk bool // in a chat that others write to
}

// district is some thousands of devices and everything that happens to them.
type district struct {
	people   []person
	devices  []device
	messages []message // in order of time
	looks    [][]look  // of each person, before they are merged
}

// drawn generates what is random in a district.
type drawn struct {
	*rand.Rand
	days int
	*district
}

// draw returns a district with a number of devices, for some days.
func draw(rng *rand.Rand, devices, days int) *district {
	d := drawn{rng, days, &district{}}
	for len(d.devices) < devices {
		p := person{first: d.device(reachedFor, unreachedFor), second: -1}
		if len(d.devices) < devices && d.Float64() < secondDevice {
			p.second = d.device(secondReached, secondUnreached)
		}
		d.people = append(d.people, p)
	}
	d.looks = make([][]look, len(d.people))
	for i := range d.people {
		d.chatsOf(i)
		d.looksOf(i)
	}
	d.groups(smallGroup, smallEach, smallMedian, smallMuted, smallMention)
	d.groups(largeGroup, largeEach, largeMedian, largeMuted, largeMention)
	d.finish()
	return d.district
}

// drawGroups returns a district of groups of one size. Their members have one
// device and are in no other chat. Each group gets some number of messages a
// day, of which a share mentions one member.
func drawGroups(rng *rand.Rand, groups, size, days int, messages, mention float64) *district {
	d := drawn{rng, days, &district{}}
	for range groups {
		var members []int
		for range size {
			members = append(members, len(d.people))
			d.people = append(d.people, person{first: d.device(reachedFor, unreachedFor), second: -1})
			d.looks = append(d.looks, nil)
			d.looksOf(len(d.people) - 1)
		}
		d.group(members, messages, 0, mention)
	}
	d.finish()
	return d.district
}

func (d drawn) finish() {
	for i, p := range d.people {
		for _, l := range d.looks[i] {
			at := p.first
			if p.second >= 0 && d.Float64() < onSecond && !d.devices[p.second].away.hold(l.from) {
				at = p.second
			}
			d.devices[at].looks = append(d.devices[at].looks, l.span)
			if l.talk {
				d.devices[at].talks = append(d.devices[at].talks, l.span)
			}
		}
		for _, at := range [...]int{p.first, p.second} {
			if at >= 0 {
				d.devices[at].owner = i
			}
		}
	}
	for i := range d.devices {
		d.devices[i].looks = join(d.devices[i].looks)
		d.devices[i].talks = join(d.devices[i].talks)
	}
	slices.SortStableFunc(d.messages, func(a, b message) int { return cmp.Compare(a.at, b.at) })
}

// device adds a device that is alternately reachable and unreachable.
func (d drawn) device(reached, unreached time.Duration) int {
	var away spans
	for at := d.wait(reached); at < d.end(); at += d.wait(reached) {
		to := at + d.wait(unreached) + time.Second
		away = append(away, span{at, to})
		at = to
	}
	d.devices = append(d.devices, device{away: away})
	return len(d.devices) - 1
}

func (d drawn) end() time.Duration { return time.Duration(d.days) * 24 * time.Hour }

// wait returns an exponentially distributed time.
func (d drawn) wait(mean time.Duration) time.Duration {
	return time.Duration(d.ExpFloat64() * float64(mean))
}

// spread returns a lognormally distributed number.
func (d drawn) spread(median, sigma float64) float64 {
	return median * math.Exp(sigma*d.NormFloat64())
}

// count returns a Poisson number.
func (d drawn) count(mean float64) (n int) {
	for sum := d.ExpFloat64(); sum < mean; sum += d.ExpFloat64() {
		n++
	}
	return n
}

// length returns a geometric number, at least 1.
func (d drawn) length(mean float64) (n int) {
	for n = 1; d.Float64() > 1/mean; n++ {
	}
	return n
}

// moment returns a moment of some day, weighted by its hour.
func (d drawn) moment() time.Duration {
	sum := 0.0
	for _, weight := range hours {
		sum += weight
	}
	at := d.Float64() * sum
	hour := 0
	for ; hour < len(hours)-1 && at >= hours[hour]; hour++ {
		at -= hours[hour]
	}
	day := time.Duration(d.IntN(d.days)) * 24 * time.Hour
	return day + time.Duration(hour)*time.Hour + time.Duration(d.Int64N(int64(time.Hour)))
}

func (d drawn) topic() (t whisper.Topic) {
	binary.BigEndian.PutUint32(t[:], d.Uint32())
	return t
}

// chatsOf adds a person's chats of two, and what others write there. A share of
// the bursts, joins, is read as it arrives, unless the person comes too late.
func (d drawn) chatsOf(p int) {
	chats := d.length(chatsEach)
	daily := d.spread(chatMedian, chatSpread) / float64(chats)
	for range chats {
		c := chat{topic: d.topic(), muted: d.Float64() < chatMuted}
		d.people[p].chats = append(d.people[p].chats, c)
		for range d.count(daily * float64(d.days) / chatBurst) {
			from := d.moment()
			to := from
			for range d.length(chatBurst) {
				d.messages = append(d.messages, message{at: to, topic: c.topic, author: -1})
				to += d.wait(chatGap)
			}
			if at := from + d.wait(joinAfter); d.Float64() < joins && at < to {
				d.looks[p] = append(d.looks[p], look{span{at, to + chatGap}, true})
			}
		}
	}
}

func (d drawn) looksOf(p int) {
	for range d.count(looksEach * float64(d.days)) {
		from := d.moment()
		d.looks[p] = append(d.looks[p], look{span{from, from + time.Duration(d.spread(float64(lookMedian), lookSpread))}, false})
	}
}

// groups adds groups of one size, so that each person is in some of them.
func (d drawn) groups(size int, each, median, muted, mention float64) {
	size = min(size, len(d.people))
	for range d.count(each * float64(len(d.people)) / float64(size)) {
		d.group(d.Perm(len(d.people))[:size], d.spread(median, groupSpread), muted, mention)
	}
}

// group adds a group and what is written to it.
func (d drawn) group(members []int, daily, muted, mention float64) {
	topic := d.topic()
	var own []whisper.Topic
	for _, p := range members {
		c := chat{topic: topic, mention: d.topic(), group: true, muted: d.Float64() < muted}
		own = append(own, c.mention)
		d.people[p].chats = append(d.people[p].chats, c)
	}
	for range d.count(daily * float64(d.days) / groupBurst) {
		at := d.moment()
		for range d.length(groupBurst) {
			author := d.IntN(len(members))
			m := message{at: at, topic: topic, author: members[author], names: len(own) > 1 && d.Float64() < mention}
			if m.names { // one other than the author
				m.mention = own[(author+1+d.IntN(len(own)-1))%len(own)]
			}
			d.messages = append(d.messages, m)
			at += d.wait(groupGap)
		}
	}
}
