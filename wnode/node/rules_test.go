package node

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/loopback"
)

// Every metric that the alert rules name is one that a node has, and every rule says what to do.
func TestAlertRules(t *testing.T) {
	cfg := loopback.Config(t)
	cfg.Push.Enabled = true
	n := run(t, cfg)
	described := make(chan *prometheus.Desc, 1000)
	go func() {
		n.registry.Describe(described)
		close(described)
	}()
	have := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for desc := range described {
		have[name.FindStringSubmatch(desc.String())[1]] = true
	}
	rules, err := os.ReadFile("../../deploy/prometheus/rules.yml")
	require.NoError(t, err)
	used := regexp.MustCompile(`whisperpush_\w+`).FindAllString(string(rules), -1)
	require.Greater(t, len(used), 8)
	for _, metric := range used {
		base := metric
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			base = strings.TrimSuffix(base, suffix)
		}
		require.True(t, have[metric] || have[base], metric)
	}
	require.Equal(t, strings.Count(string(rules), "- alert:"), strings.Count(string(rules), "action:"))
}
