package node

import (
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
)

// release is the release that this source leads to.
const release = "0.1.0"

// source is what a build knows about its source.
type source struct {
	commit  string // in hex, in full or its first 12 digits; empty: not known
	time    string // of the commit, RFC 3339; empty: not known
	changed bool   // files were changed since the commit
	module  string // the version it was installed as; empty: not installed as a module version
}

// pseudoVersion matches the version of a module without a release: it ends with the commit.
var pseudoVersion = regexp.MustCompile(`^v\d.*[.-]\d{14}-([0-9a-f]{12})$`)

// sourceOf reads what the Go command recorded.
func sourceOf(info *debug.BuildInfo) (s source) {
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			s.commit = setting.Value
		case "vcs.time":
			s.time = setting.Value
		case "vcs.modified":
			s.changed = setting.Value == "true"
		}
	}
	if s.commit != "" || info.Main.Version == "(devel)" {
		return s
	}
	if m := pseudoVersion.FindStringSubmatch(info.Main.Version); m != nil {
		s.commit = m[1]
		return s
	}
	s.module = info.Main.Version
	return s
}

// version is the release and, as far as the build knew it, the beginning of the commit, with -dirty if files were
// changed since, or else the version of the module.
func (s source) version() string {
	switch {
	case s.commit != "" && s.changed:
		return release + "-" + s.commit[:min(8, len(s.commit))] + "-dirty"
	case s.commit != "":
		return release + "-" + s.commit[:min(8, len(s.commit))]
	case s.module != "":
		return release + "-" + s.module
	}
	return release
}

// String describes the commit for people.
func (s source) String() string {
	switch {
	case s.commit == "" && s.module != "":
		return "that of the module's version " + s.module
	case s.commit == "":
		return "not known, as the build was told of no version control"
	}
	text := s.commit
	if s.time != "" {
		text += " of " + s.time
	}
	if s.changed {
		text += ", with changes since"
	}
	return text
}

// thisSource is the source of this program.
func thisSource() source {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return source{}
	}
	return sourceOf(info)
}

// Version is the release and what is known about the commit.
func Version() string { return thisSource().version() }

// ClientName is what peers and web3_clientVersion see, in the form geth gives its own.
func ClientName() string {
	return fmt.Sprintf("whisperpush/v%s/%s-%s/%s", Version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// Commit is the commit of the source, or words that say it is not known.
func Commit() string { return thisSource().String() }
