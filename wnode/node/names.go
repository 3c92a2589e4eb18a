package node

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"

	"whisperpush/pushext/pushserver"
)

// sealedNames are the names of registrations that an operator sees. A name is the registration's number on this server,
// sealed with a key that ends with the process. It reveals nothing, and stays the same while the node runs. Afterwards
// it names nothing, so lists from different runs cannot be compared.
type sealedNames struct{ block cipher.Block }

// nameBytes is the size of a sealed name: one block of AES, whose second half is zeros when opened.
const nameBytes = aes.BlockSize

// spelling is base32 without padding; names ignore case.
var spelling = base32.StdEncoding.WithPadding(base32.NoPadding)

func newNames() *sealedNames {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // of the key's size alone
	}
	return &sealedNames{block}
}

func (n *sealedNames) seal(id pushserver.RegistrationID) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, nameBytes), uint64(id))
	b = b[:nameBytes]
	n.block.Encrypt(b, b)
	return strings.ToLower(spelling.EncodeToString(b))
}

func (n *sealedNames) open(name string) (pushserver.RegistrationID, error) {
	b, err := spelling.DecodeString(strings.ToUpper(name))
	if err == nil && len(b) == nameBytes {
		n.block.Decrypt(b, b)
		if id := binary.BigEndian.Uint64(b); id != 0 && bytes.Equal(b[8:], make([]byte, nameBytes-8)) {
			return pushserver.RegistrationID(id), nil
		}
	}
	return 0, fmt.Errorf("%q is no name of a registration here; take one that wnode registrations list prints while this node runs: after a restart they are others", shorten(name))
}

// shorten bounds how much of an operator's input is repeated.
func shorten(word string) string {
	const most = 40
	if len(word) > most {
		return word[:most] + "…"
	}
	return word
}
