package client

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
	"whisperpush/whisper"
)

func TestRegisterPatiently(t *testing.T) {
	busy := &pushwire.RefusalError{Code: pushwire.Busy, Text: "come back"}
	silent := &GaveUpError{What: "register", Attempts: 4}
	run := func(t *testing.T, register func(attempt int) error) (attempts int, took time.Duration, err error) {
		start := time.Now()
		err = patiently(t.Context(), func() error {
			attempts++
			return register(attempts)
		})
		return attempts, time.Since(start), err
	}
	synctest.Test(t, func(t *testing.T) {
		n, took, err := run(t, func(attempt int) error {
			if attempt < 5 {
				return silent
			}
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, 5, n)
		require.GreaterOrEqual(t, took, (30+60+120+240)*time.Second/2)
		require.Less(t, took, (30+60+120+240)*time.Second)

		// A day, and not an attempt a minute.
		n, took, err = run(t, func(int) error { return busy })
		require.ErrorIs(t, err, busy)
		require.Greater(t, took, 22*time.Hour)
		require.LessOrEqual(t, took, 24*time.Hour)
		require.Less(t, n, 60)

		// What does not pass ends it at once.
		for _, final := range []error{
			&pushwire.RefusalError{Code: pushwire.BadAddress, Text: "this is no token"},
			&GaveUpError{What: "register", End: ErrClosed},
			errors.New("client: Registration.Routes is empty"),
			fmt.Errorf("%w: %w", ErrExceeds, &pushwire.RefusalError{Code: pushwire.Limit, Text: "5 routes, at most 4"}),
			&pushwire.RefusalError{Code: pushwire.Disabled, Text: "no plain form"},
		} {
			n, took, err = run(t, func(int) error { return final })
			require.ErrorIs(t, err, final)
			require.Equal(t, 1, n)
			require.Zero(t, took)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		err = patiently(ctx, func() error { return silent })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, silent, "and what was in the way")
	})
}

// That a registration is too much for one device is told apart from a server that has no
// place for it now.
func TestRegisterPatientlyEndsAtItsOwnLimit(t *testing.T) {
	s := startScripted(t)
	limits := pushwire.Limits{Routes: 4, Channels: 1}
	s.answer = func(pushwire.Request, *ecdsa.PublicKey) (pushwire.Reply, []*whisper.Envelope, bool) {
		return pushwire.Reply{Code: pushwire.Limit, Text: "too much", Body: &pushwire.RegisterReply{Limits: limits}}, nil, true
	}
	d := s.open(t, nil)
	err := d.Register(t.Context(), route())
	require.True(t, IsRefused(err, pushwire.Limit))
	require.NotErrorIs(t, err, ErrExceeds, "of others there are too many")
	require.True(t, passing(err))
	require.NoError(t, d.SetChats(t.Context(), d.Chats()))
	two := route()
	two.Routes = append(two.Routes, two.Routes[0], two.Routes[0])
	s.change(func() { limits.Routes = 2 })
	err = d.RegisterPatiently(t.Context(), two)
	require.ErrorIs(t, err, ErrExceeds)
	require.True(t, IsRefused(err, pushwire.Limit))
	require.Len(t, s.seen(), 2, "once each")
}

// A registration that makes no sense is refused before anybody is asked.
func TestRegisterPatientlyRefusesAtOnce(t *testing.T) {
	s := startScripted(t)
	require.ErrorContains(t, s.open(t, nil).RegisterPatiently(t.Context(), Registration{}), "Routes is empty")
}
