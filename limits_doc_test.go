package whisperpush_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every test that docs/limits.md names is there.
func TestLimitsAreTested(t *testing.T) {
	doc, err := os.ReadFile("docs/limits.md")
	require.NoError(t, err)
	var tests strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		tests.Write(source)
		return err
	}))
	named := regexp.MustCompile("`(Test[A-Za-z]+)(/[a-z]+)?`").FindAllSubmatch(doc, -1)
	require.NotEmpty(t, named)
	for _, name := range named {
		require.Contains(t, tests.String(), "func "+string(name[1])+"(")
		if part := strings.TrimPrefix(string(name[2]), "/"); part != "" {
			require.Contains(t, tests.String(), `t.Run("`+part+`"`)
		}
	}
}
