package whisperpush_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
// directory of the package, or `TestName`, with its parts, anywhere.
func TestDocumentedTests(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	sources := testSources(t)
	name := regexp.MustCompile("`(?:([a-z][a-z0-9/]*)\\.)?((?:Test|Fuzz|Benchmark)[A-Za-z0-9]+)(?:/([a-z]+))?`")
	found := 0
	for _, page := range append(pages, "README.md", "CHANGELOG.md", "deploy/README.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			pkg, test, part := m[1], m[2], m[3]
			if test == "TestName" {
				continue // the form itself
			}
			found++
			require.True(t, slices.ContainsFunc(sources, func(s testSource) bool {
				return s.of(pkg) && strings.Contains(s.text, "\nfunc "+test+"(")
			}), "%s names %s, which there is not", page, m[0])
			require.True(t, part == "" || slices.ContainsFunc(sources, func(s testSource) bool {
				return s.of(pkg) && strings.Contains(s.text, `t.Run("`+part+`"`)
			}), "%s names %s, which has no such part", page, m[0])
		}
	}
	require.Greater(t, found, 100, "the documents name their tests in another form")
}

// testSource is a file with tests.
type testSource struct{ dir, text string }

// of reports whether the file is in the directory of a package, or in one that ends
// so; every file is of the package without a name.
func (s testSource) of(pkg string) bool {
	return pkg == "" || s.dir == pkg || strings.HasSuffix(s.dir, "/"+pkg)
}

func testSources(t *testing.T) (all []testSource) {
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, testSource{filepath.ToSlash(filepath.Dir(path)), string(text)})
		return err
	}))
	return all
}

// Whatever docs/troubleshooting.md quotes is printed by something: the text stands in the source.
func TestQuotedMessages(t *testing.T) {
	page, err := os.ReadFile("docs/troubleshooting.md")
	require.NoError(t, err)
	var source strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	}))
	printed, quotes := source.String(), 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		for _, cell := range cells[1:max(1, len(cells)-2)] {
			quote, ok := strings.CutPrefix(strings.TrimSpace(cell), "`")
			quote, _, closed := strings.Cut(quote, "`")
			if !ok || !closed || strings.HasPrefix(quote, "wnode ") {
				continue
			}
			quotes++
			for part := range strings.SplitSeq(quote, "…") {
				require.Contains(t, printed, strings.TrimSpace(part), line)
			}
		}
	}
	require.Greater(t, quotes, 20)
}
