package whisper

import (
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
)

func TestSubscribe(t *testing.T) {
	signer, err := crypto.GenerateKey()
	require.NoError(t, err)
	receiver, err := crypto.GenerateKey()
	require.NoError(t, err)
	topic, another := TopicFor("chat"), TopicFor("another")
	symmetric := Draft{Topic: topic, Key: testKey}
	signed := Draft{Topic: topic, Key: testKey, Sign: signer}
	lastKey := append(testKey[:31:31], 2)
	asymmetric := Draft{Topic: topic, To: &receiver.PublicKey}

	for name, test := range map[string]struct {
		filter Filter
		draft  Draft
		want   bool
	}{
		"any topic":         {Filter{Key: testKey}, symmetric, true},
		"its topic":         {Filter{Key: testKey, Topics: []Topic{another, topic, topic}}, symmetric, true},
		"another topic":     {Filter{Key: testKey, Topics: []Topic{another}}, symmetric, false},
		"another key":       {Filter{Key: append(testKey[:31:31], 1)}, symmetric, false},
		"identity":          {Filter{Identity: receiver}, asymmetric, true},
		"another identity":  {Filter{Identity: signer}, asymmetric, false},
		"key for the other": {Filter{Key: testKey}, asymmetric, false},
		"from":              {Filter{Key: testKey, From: &signer.PublicKey}, signed, true},
		"from another":      {Filter{Key: testKey, From: &receiver.PublicKey}, signed, false},
		"from, unsigned":    {Filter{Key: testKey, From: &signer.PublicKey}, symmetric, false},
		"too little work":   {Filter{Key: testKey, MinPoW: 1000}, symmetric, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := startNode(t, Config{})
			sub, err := n.Subscribe(test.filter, 10)
			require.NoError(t, err)
			last, err := n.Subscribe(Filter{Key: lastKey}, 1)
			require.NoError(t, err)

			test.draft.Payload = []byte("hello")
			e := seal(t, test.draft)
			r := connect(t, n)
			r.sendEnvelopes(e)
			if test.want {
				m := <-sub.C()
				require.Equal(t, "hello", string(m.Payload))
				require.Equal(t, e.Hash(), m.Envelope.Hash())
				require.False(t, m.Direct)
				require.NotZero(t, m.At)
				return
			}
			r.sendEnvelopes(seal(t, Draft{Key: lastKey}))
			<-last.C()
			sub.Close()
			_, open := <-sub.C()
			require.False(t, open)
		})
	}
}

func TestSubscribeRefuses(t *testing.T) {
	n := startNode(t, Config{})
	identity, err := crypto.GenerateKey()
	require.NoError(t, err)
	for name, f := range map[string]Filter{
		"no key":    {},
		"two keys":  {Key: testKey, Identity: identity},
		"short key": {Key: testKey[:31]},
		"PoW":       {Key: testKey, MinPoW: -1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := n.Subscribe(f, 1)
			require.Error(t, err)
		})
	}
}

func TestSlowSubscriberLosesTheOldest(t *testing.T) {
	n := startNode(t, Config{})
	sub, err := n.Subscribe(Filter{Key: testKey}, 2)
	require.NoError(t, err)
	const sent = 10
	for i := range sent {
		require.NoError(t, n.Post(t.Context(), seal(t, Draft{Payload: []byte{byte(i)}})))
	}
	var got []byte
	for {
		m := <-sub.C()
		got = append(got, m.Payload[0])
		if m.Payload[0] == sent-1 {
			break
		}
	}
	require.IsIncreasing(t, got)
	require.EqualValues(t, sent-len(got), sub.Dropped())
}

func TestSubscriptionEndsWithTheNode(t *testing.T) {
	n := startNode(t, Config{})
	sub, err := n.Subscribe(Filter{Key: testKey, Topics: []Topic{{1}, {2}}}, 1)
	require.NoError(t, err)
	closed, err := n.Subscribe(Filter{Key: testKey, Topics: []Topic{{2}}}, 1)
	require.NoError(t, err)
	closed.Close()
	closed.Close()
	n.Stop()
	_, open := <-sub.C()
	require.False(t, open)
	sub.Close()
	require.False(t, n.subscriptions.any())
}
