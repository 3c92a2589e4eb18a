package wnode

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"rsc.io/qr"
)

// What is drawn is the code, light on dark with its margin.
func TestDrawQR(t *testing.T) {
	code, err := qr.Encode("whisperpush://server?"+strings.Repeat("x", 400), qr.L)
	require.NoError(t, err)
	var text strings.Builder
	drawQR(&text, code.Size, code.Black)
	lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
	require.Len(t, lines, (code.Size+8+1)/2)
	for y := range code.Size {
		row := []rune(lines[(y+4)/2])
		require.Len(t, row, code.Size+8)
		for x := range code.Size {
			cell := row[x+4]
			light := cell == '█' || cell == '▀' && y%2 == 0 || cell == '▄' && y%2 == 1
			require.Equal(t, code.Black(x, y), !light, "at %d, %d", x, y)
		}
	}
	for _, cell := range lines[0] + lines[1] + lines[len(lines)-1] {
		require.Equal(t, '█', cell)
	}
}

func TestIsPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"203.0.113.7": true, "2001:db8::1": true, "10.0.0.1": false, "192.168.1.1": false, "172.16.0.1": false, "100.64.0.1": false, "127.0.0.1": false,
		"169.254.1.1": false, "fe80::1": false, "fd00::1": false, "::1": false, "0.0.0.0": false,
	} {
		require.Equal(t, want, isPublic(netip.MustParseAddr(text)), text)
	}
}
