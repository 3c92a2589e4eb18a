package client

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

// Offers that cannot be trusted or used are not.
func TestReadOffer(t *testing.T) {
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	now := time.Now()
	good := pushwire.Offer{
		Issued: uint64(now.Unix()), Expires: uint64(now.Add(time.Hour).Unix()),
		Enode: "enode://6332792c4a00e3e4ee0926ed89e0d27ef985424d97b6a45bf0f23e51f0dcb5e66b875777506458aea7af6f9e4ffb69f43f3778ee73c81ed9d34c51c4b16b0b0f@127.0.0.1:3",
	}
	read := func(change func(*pushwire.Offer)) (Discovered, error) {
		offer := good
		change(&offer)
		env, err := pushwire.SealOffer(t.Context(), offer, key, time.Minute, 0)
		require.NoError(t, err)
		return ReadOffer(env, now)
	}
	server, err := read(func(*pushwire.Offer) {})
	require.NoError(t, err)
	require.True(t, server.PushKey.Equal(&key.PublicKey))
	require.Equal(t, good.Enode, server.Enode)

	_, err = read(func(o *pushwire.Offer) { o.Expires = uint64(now.Unix()) })
	require.ErrorContains(t, err, "expired")
	_, err = read(func(o *pushwire.Offer) { o.Issued = uint64(now.Add(time.Hour).Unix()) })
	require.ErrorContains(t, err, "of the future")
	_, err = read(func(o *pushwire.Offer) { o.Enode = "mail.example.org" })
	require.ErrorContains(t, err, "names no node")

	payload, err := pushwire.EncodeOffer(good)
	require.NoError(t, err)
	filter := pushwire.OfferFilter()
	unsigned, err := whisper.Seal(t.Context(), whisper.Draft{Payload: payload, Topic: filter.Topics[0], Key: filter.Key})
	require.NoError(t, err)
	_, err = ReadOffer(unsigned, now)
	require.ErrorIs(t, err, pushwire.ErrSigner)
}

func TestDiscoverRefuses(t *testing.T) {
	require.ErrorContains(t, Discover(t.Context(), nil, nil, nil), "needs a Whisper node")
	require.ErrorContains(t, Discover(t.Context(), []string{"x"}, nil, nil), "is not an enode URL")
}
