// Package credentials reads what an operator gives to a push provider: URLs, and
// files of keys and secrets. An error names the setting, shows its value and says
// what to do, and repeats no secret.
package credentials

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// MaxFile is the largest file that is read, in bytes. A service account's key has
// 2.4 KiB, a bundle of certificate authorities some 200 KiB.
const MaxFile = 1 << 20

// mark is the byte order mark that editors on Windows put at the start of a UTF-8 text.
const mark = "\xef\xbb\xbf"

// File reads the file at path, which setting named, and drops a byte order mark.
// expected is used in error texts, such as "the service account's key file".
func File(setting, path, expected string) ([]byte, error) {
	if path == "" {
		return nil, fmt.Errorf("%s is missing: name %s", setting, expected)
	}
	file, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s names the file %q, and there is none: name %s", setting, path, expected)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s names the file %q, and this user may not read it: give it to the node's user", setting, path)
	case err != nil:
		return nil, fmt.Errorf("%s names the file %q, which cannot be read: %w", setting, path, cause(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s names the file %q, which cannot be read: %w", setting, path, cause(err))
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s names %q, which is a directory: name %s", setting, path, expected)
	}
	text, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s names the file %q, which cannot be read: %w", setting, path, cause(err))
	case len(text) > MaxFile:
		return nil, fmt.Errorf("%s names the file %q of more than %d bytes: name %s", setting, path, MaxFile, expected)
	case bytes.HasPrefix(text, []byte{0xff, 0xfe}), bytes.HasPrefix(text, []byte{0xfe, 0xff}):
		return nil, fmt.Errorf("%s names the file %q, which is UTF-16: save it as UTF-8", setting, path)
	}
	return Text(text), nil
}

// Text returns a file's content without a byte order mark.
func Text(content []byte) []byte { return bytes.TrimPrefix(content, []byte(mark)) }

// Line returns the first line of the file at path, which setting named: a secret that
// is a line of text. expected describes it in error texts.
func Line(setting, path, expected string) (string, error) {
	text, err := File(setting, path, "a file whose first line is "+expected)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("%s: the first line of %q is empty: it has to be %s", setting, path, expected)
	}
	return line, nil
}

// URL parses the text of setting, which must be an absolute URL with one of
// schemes, with a host and without a fragment. example is a valid one for error
// texts.
func URL(setting, text, example string, schemes ...string) (*url.URL, error) {
	wrong := func(why string) (*url.URL, error) {
		return nil, fmt.Errorf("%s %s %s: give one such as %s", setting, show(text), why, example)
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' || c == '\\' {
			return wrong("has blanks or other characters that a URL cannot have")
		}
	}
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, fmt.Errorf("%s is missing: give a URL such as %s", setting, example)
	case err != nil, u.Scheme == "", u.Opaque != "":
		return wrong("is not a URL")
	case !slices.Contains(schemes, u.Scheme):
		return wrong("does not begin with " + strings.Join(schemes, ":// or ") + "://")
	case u.Hostname() == "":
		return wrong("has no host")
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return wrong("has a fragment")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return wrong("has a port that is not 1 to 65535")
		}
	}
	return u, nil
}

// Base is URL for the base of an API, to which paths are appended: it must have no
// query. A slash at its end is dropped.
func Base(setting, text, example string, schemes ...string) (*url.URL, error) {
	u, err := URL(setting, text, example, schemes...)
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return nil, fmt.Errorf("%s %s has a query, to which no path can be appended: give a URL such as %s", setting, show(text), example)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// show quotes a URL without what may be secret in it: a password before the host,
// and the query, which may hold a key.
func show(text string) string {
	if query := strings.IndexByte(text, '?'); query >= 0 {
		text = text[:query] + "?…"
	}
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		text = "…" + text[at:]
	}
	return strconv.Quote(text)
}

// cause returns err without the path, which the message already names.
func cause(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
