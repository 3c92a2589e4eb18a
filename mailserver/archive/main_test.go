package archive

import (
	"testing"

	"go.uber.org/goleak"
)

// goleveldb ends this goroutine a second after Close.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}
