package quietport

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFree(t *testing.T) {
	from, to := connections()
	for range 50 {
		port, err := Free()
		require.NoError(t, err)
		require.False(t, port >= from && port <= to, "%d may be an outgoing connection's", port)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
}
