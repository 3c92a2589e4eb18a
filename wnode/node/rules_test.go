package node

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"whisperpush/testutil/loopback"
)

// Every metric that the alert rules and the dashboard name is one that a node has, every rule says what to do, and has its
// section in the manual.
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
	dashboard, err := os.ReadFile("../../deploy/monitoring/dashboard.json")
	require.NoError(t, err)
	require.True(t, json.Valid(dashboard))
	used := regexp.MustCompile(`whisperpush_\w+`).FindAllString(string(rules)+string(dashboard), -1)
	require.Greater(t, len(used), 30)
	for _, metric := range used {
		base := metric
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			base = strings.TrimSuffix(base, suffix)
		}
		require.True(t, have[metric] || have[base], metric)
	}
	require.Equal(t, strings.Count(string(rules), "- alert:"), strings.Count(string(rules), "action:"))

	manual, err := os.ReadFile("../../docs/alerts.md")
	require.NoError(t, err)
	var alerts, sections []string
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		alerts = append(alerts, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(manual), -1) {
		sections = append(sections, m[1])
	}
	require.Equal(t, alerts, sections)
}
