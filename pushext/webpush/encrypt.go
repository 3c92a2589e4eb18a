package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

const (
	authSize   = 16
	saltSize   = 16
	pointSize  = 65
	headerSize = saltSize + 4 + 1 + pointSize // RFC 8188 section 2.1
	overhead   = headerSize + 1 + 16          // with the padding's delimiter and the tag

	// recordSize is announced in each header. There is one record, RFC 8291 section 4.
	recordSize = 4096

	// ContentSize is the size to which bodies are padded, so that all requests
	// are equally long: the sealed payload has 1,382 bytes, the largest plain one
	// about 2,000. A longer body is padded to the largest a push service must take.
	ContentSize    = 2048
	maxContentSize = 4096 - overhead // 3993, RFC 8291 section 4
)

var errTooLong = errors.New("body is too long")

// encrypt makes the request body for a subscription.
func encrypt(body, p256dh, auth []byte) ([]byte, error) {
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	switch {
	case len(body) <= ContentSize:
		return seal(body, ContentSize, p256dh, auth, private, salt)
	case len(body) <= maxContentSize:
		return seal(body, maxContentSize, p256dh, auth, private, salt)
	}
	return nil, errTooLong
}

// seal encrypts body, padded to size, as RFC 8291 section 3 and RFC 8188 say.
func seal(body []byte, size int, p256dh, auth []byte, private *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	receiver, err := ecdh.P256().NewPublicKey(p256dh)
	if err != nil {
		return nil, err
	}
	shared, err := private.ECDH(receiver)
	if err != nil {
		return nil, err
	}
	sender := private.PublicKey().Bytes()
	ikm, err := hkdf.Key(sha256.New, shared, auth, "WebPush: info\x00"+string(p256dh)+string(sender), 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, size+1)
	copy(plain, body)
	plain[len(body)] = 2 // the last record's delimiter; zeros follow

	out := make([]byte, 0, size+overhead)
	out = append(out, salt...)
	out = binary.BigEndian.AppendUint32(out, recordSize)
	out = append(out, pointSize)
	out = append(out, sender...)
	return gcm.Seal(out, nonce, plain, nil), nil
}
