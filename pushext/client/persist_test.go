package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/pushwire"
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

// A registration that makes no sense is refused before anybody is asked.
func TestRegisterPatientlyRefusesAtOnce(t *testing.T) {
	s := startScripted(t)
	require.ErrorContains(t, s.open(t, nil).RegisterPatiently(t.Context(), Registration{}), "Routes is empty")
}
