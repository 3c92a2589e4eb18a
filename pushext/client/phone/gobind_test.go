package phone_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"whisperpush/pushext/client/phone"
)

// TestGobind makes the Java and Objective-C of the package, as gomobile bind does, and
// compiles the Java with the app of docs/android.md: nothing of the API may be left out as
// unsupported. What Android has beside is in testdata, without what it does.
func TestGobind(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "tool", "gobind", "-lang=java,objc,go", "-outdir", dir, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	var java []string
	text := make(map[string]string) // of files by name
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text[e.Name()] = string(content)
		if filepath.Ext(path) == ".java" {
			java = append(java, path)
		}
		if e.Name() != "error.java" && !strings.HasPrefix(e.Name(), "seq") {
			require.NotContains(t, strings.ToLower(string(content)), "skipped", e.Name())
		}
		return nil
	}))
	for _, declared := range []string{
		"native String call(String name, String arguments) throws Exception", "native String receive(String platform, byte[] push) throws Exception",
		"native void close() throws Exception",
	} {
		require.Contains(t, text["App.java"], declared)
	}
	require.Contains(t, text["Phone.java"], "native App open(String settings, Screen platform) throws Exception")
	require.Contains(t, text["Phone.objc.h"], "PhoneOpen(NSString* _Nullable settings, id<PhoneScreen> _Nullable platform, NSError* _Nullable* _Nullable error)")
	require.Contains(t, text["Phone.objc.h"], "- (NSString* _Nonnull)receive:(NSString* _Nullable)platform push:(NSData* _Nullable)push error:")

	if _, err := exec.LookPath("javac"); err != nil {
		t.Skipf("the Java was made and not compiled: %v", err)
	}
	page, err := os.ReadFile("../../../docs/android.md")
	require.NoError(t, err)
	_, app, found := strings.Cut(string(page), "```java\n")
	require.True(t, found)
	app, _, found = strings.Cut(app, "```")
	require.True(t, found)
	file := filepath.Join(dir, "Pushes.java")
	require.NoError(t, os.WriteFile(file, []byte(app), 0o600))
	java = append(java, file)
	arguments := append([]string{"-d", filepath.Join(dir, "classes"), "-sourcepath", "testdata", "-encoding", "UTF-8"}, java...)
	out, err = exec.CommandContext(t.Context(), "javac", arguments...).CombinedOutput()
	require.NoError(t, err, string(out))
}

// Every call stands in docs/bindings.md.
func TestDocumentedCalls(t *testing.T) {
	page, err := os.ReadFile("../../../docs/bindings.md")
	require.NoError(t, err)
	documented := map[string]bool{}
	_, table, _ := strings.Cut(string(page), "## Calls")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for name := range strings.SplitSeq(cells[1], ",") {
			if name = strings.TrimSpace(name); strings.HasPrefix(name, "`") {
				documented[strings.Trim(name, "`")] = true
			}
		}
	}
	for name := range strings.FieldsSeq(phone.Calls()) {
		require.True(t, documented[name], name)
		delete(documented, name)
	}
	require.Empty(t, documented)
}
