package voucher

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"
)

// The way of a voucher, with everything read back in between, as by three programs.
func TestVoucher(t *testing.T) {
	made, err := NewKey()
	require.NoError(t, err)
	key, err := ParseKey(made.PEM())
	require.NoError(t, err)
	public, err := ParsePublicKey(key.Public().PEM())
	require.NoError(t, err)
	require.Equal(t, made.Public().ID(), public.ID())

	order, err := NewOrder(public)
	require.NoError(t, err)
	signature, err := key.Sign(order.Blinded())
	require.NoError(t, err)
	again, err := ResumeOrder(public, order.Secret())
	require.NoError(t, err)
	require.Equal(t, order.Blinded(), again.Blinded(), "an order that is resumed is the same")
	voucher, err := again.Finish(signature)
	require.NoError(t, err)
	require.Len(t, voucher, Size)
	serial, err := public.Verify(voucher)
	require.NoError(t, err)
	require.NotContains(t, string(order.Blinded()), string(serial[:]))

	other, err := NewOrder(public)
	require.NoError(t, err)
	require.NotEqual(t, order.Blinded(), other.Blinded())
	_, err = other.Finish(signature)
	require.ErrorIs(t, err, ErrInvalid, "the signature is another order's")
	for i := 0; i < Size; i += 13 {
		bad := append([]byte(nil), voucher...)
		bad[i] ^= 1
		_, err := public.Verify(bad)
		if i < IDSize {
			require.ErrorIs(t, err, ErrUnknownKey)
		} else {
			require.ErrorIs(t, err, ErrInvalid)
		}
	}
	for _, size := range []int{0, Size - 1, Size + 1} {
		_, err = public.Verify(make([]byte, size))
		require.ErrorIs(t, err, ErrInvalid)
		_, err = key.Sign(make([]byte, size))
		require.ErrorIs(t, err, ErrInvalid)
		_, err = order.Finish(make([]byte, size))
		require.ErrorIs(t, err, ErrInvalid)
	}
	tooGreat := make([]byte, SignatureSize)
	for i := range tooGreat {
		tooGreat[i] = 0xff
	}
	_, err = key.Sign(tooGreat)
	require.ErrorIs(t, err, ErrInvalid)

	stranger, err := NewKey()
	require.NoError(t, err)
	_, err = stranger.Public().Verify(voucher)
	require.ErrorIs(t, err, ErrUnknownKey)
}

func TestParseKeyRefuses(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 3072)
	require.NoError(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	private := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der})
	}
	public := func(key any) []byte {
		der, err := x509.MarshalPKIXPublicKey(key)
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der})
	}
	for name, text := range map[string][]byte{
		"nothing":       nil,
		"no PEM":        []byte("voucher"),
		"another block": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"}),
		"no DER":        pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: []byte{1}}),
		"another size":  private(small),
		"a curve":       private(curve),
		"public":        public(&small.PublicKey),
	} {
		_, err := ParseKey(text)
		require.ErrorIs(t, err, ErrKey, name)
	}
	for name, text := range map[string][]byte{
		"nothing":       nil,
		"no PEM":        []byte("voucher"),
		"another block": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE"}),
		"no DER":        pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: []byte{1}}),
		"another size":  public(&small.PublicKey),
		"a curve":       public(&curve.PublicKey),
		"private":       private(small),
	} {
		_, err := ParsePublicKey(text)
		require.ErrorIs(t, err, ErrKey, name)
	}
	_, err = ParsePublicKey(private(small))
	require.ErrorContains(t, err, "this is the private key")
}

// A voucher comes from strangers.
func FuzzVerify(f *testing.F) {
	key, err := NewKey()
	require.NoError(f, err)
	order, err := NewOrder(key.Public())
	require.NoError(f, err)
	signature, err := key.Sign(order.Blinded())
	require.NoError(f, err)
	good, err := order.Finish(signature)
	require.NoError(f, err)
	f.Add(good)
	f.Add(good[:IDSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := key.Public().Verify(b); err == nil {
			require.Equal(t, good, b)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	key, err := NewKey()
	require.NoError(b, err)
	order, err := NewOrder(key.Public())
	require.NoError(b, err)
	signature, err := key.Sign(order.Blinded())
	require.NoError(b, err)
	voucher, err := order.Finish(signature)
	require.NoError(b, err)
	for b.Loop() {
		if _, err := key.Public().Verify(voucher); err != nil {
			b.Fatal(err)
		}
	}
}
