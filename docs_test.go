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

// Every direct dependency has its line in docs/dependencies.md, and every line
// its dependency.
func TestDependenciesHaveReasons(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	page, err := os.ReadFile("docs/dependencies.md")
	require.NoError(t, err)
	direct := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:require )?\t?(\S+\.\S+/\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1) {
		direct[m[1]] = true
	}
	require.NotEmpty(t, direct)
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\S+\.\S+/\S+) \| \S`).FindAllStringSubmatch(string(page), -1) {
		named[m[1]] = true
	}
	require.Equal(t, direct, named)
}

// What the documents link to in this repository is there.
func TestDocumentLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	link := regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	for _, page := range append(pages, "README.md", "CHANGELOG.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(page), m[1]))
			require.NoError(t, err, "%s links to %s", page, m[1])
		}
	}
}

// Every test that the documents name is there: `package.TestName`, in the
// directory of the package.
func TestDocumentedTests(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	name := regexp.MustCompile("`([a-z][a-z0-9/]*)\\.((?:Test|Fuzz|Benchmark)[A-Za-z0-9]+)`")
	found := 0
	for _, page := range append(pages, "README.md", "deploy/README.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			if m[2] == "TestName" {
				continue // the form itself
			}
			found++
			found++
			require.True(t, hasTest(t, m[1], m[2]), "%s names %s.%s, which there is not", page, m[1], m[2])
		}
	}
	require.Greater(t, found, 20, "the documents name their tests in another form")
}

// hasTest looks for a test function in the directory of a package, or in one of that name.
func hasTest(t *testing.T, pkg, test string) (found bool) {
	definition := regexp.MustCompile(`(?m)^func ` + test + `\(`)
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		dir := filepath.ToSlash(filepath.Dir(path))
		if err != nil || found || !strings.HasSuffix(path, "_test.go") || dir != pkg && !strings.HasSuffix(dir, "/"+pkg) {
			return err
		}
		text, err := os.ReadFile(path)
		found = definition.Match(text)
		return err
	}))
	return found
}
