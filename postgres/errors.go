package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"whisperpush/durable"
)

var (
	// ErrAway says that the database cannot be reached or does not answer. It may come back,
	// so a failed attempt may be repeated.
	ErrAway = errors.New("the database does not answer")
	// ErrReadOnly says that the server takes no writes: it is a standby, or configured so.
	ErrReadOnly = errors.New("the database is read-only")
	// ErrDiskFull says that the server's disk is full.
	ErrDiskFull = errors.New("the database's disk is full")
	// ErrRefused says that the server does not admit this role, or does not allow it this.
	ErrRefused = errors.New("the database refuses this role")
	// ErrServer says that the server is of a kind that cannot be used.
	ErrServer = errors.New("the database server cannot be used")
	// ErrForeign says that the schema holds something that is not ours.
	ErrForeign = errors.New(`the schema "` + Schema + `" holds tables of something else`)
	// ErrNewer says that a newer version of this program made the tables.
	ErrNewer = errors.New("the tables are of a newer version of this program")
	// ErrURL says that the URL cannot be used.
	ErrURL = errors.New("the PostgreSQL URL cannot be used")
)

// Codes of PostgreSQL's errors, from appendix A of its manual. Two-character codes are
// classes.
var (
	awayCodes = []string{
		"08",                               // connection exceptions
		"57P01", "57P02", "57P03", "57P05", // shutdown, crash, starting up, idle session
		"57014",          // canceled, by statement_timeout too
		"25P03",          // idle in transaction for too long
		"53300", "53400", // connections or another limit of the server used up
		"40001", "40P01", "40003", // serialization, deadlock, completion unknown
		"55P03", // lock not obtained in time
		"55006", // object in use
	}
	fullCodes     = []string{"53100"}
	readOnlyCodes = []string{"25006"}
	refusedCodes  = []string{"28", "42501", "3D000"}
)

// settled are the errors that fault leaves as they are.
var settled = []error{
	ErrServer, ErrForeign, ErrNewer, ErrOlder, ErrNewKeys, ErrInUse, ErrMoving, ErrNotEmpty, ErrURL, ErrReadOnly, ErrRefused,
	durable.ErrClosed, durable.ErrLocked, durable.ErrCorrupted, pgx.ErrNoRows, context.Canceled,
}

// sentence is an error of PostgreSQL without its details and hints, which quote values that
// could be private.
type sentence struct {
	kind error
	text string
	code string // of PostgreSQL, or empty
}

func (s *sentence) Error() string {
	if s.kind == nil {
		return s.text
	}
	return s.kind.Error() + ": " + s.text
}

func (s *sentence) Unwrap() error { return s.kind }

// fault turns an error of pgx into one of this package. A canceled context stays as it is.
func (d *DB) fault(err error) error { return fault(err, d.secrets) }

func fault(err error, secrets []string) error {
	var ours *sentence
	var server *pgconn.PgError
	switch {
	case err == nil || errors.As(err, &ours) || slices.ContainsFunc(settled, func(kind error) bool { return errors.Is(err, kind) }):
		return err
	case errors.As(err, &server):
		s := &sentence{text: fmt.Sprintf("%s (SQLSTATE %s)", redact(server.Message, secrets), server.Code), code: server.Code}
		for kind, codes := range map[error][]string{ErrAway: awayCodes, ErrDiskFull: fullCodes, ErrReadOnly: readOnlyCodes, ErrRefused: refusedCodes} {
			for _, code := range codes {
				if strings.HasPrefix(server.Code, code) {
					s.kind = kind
				}
			}
		}
		return s
	default: // of the network, of TLS, or a timeout
		return &sentence{kind: ErrAway, text: redact(err.Error(), secrets)}
	}
}

// redact removes line ends, and secrets that should not be in a text.
func redact(text string, secrets []string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "***")
	}
	return text
}

// hasCode reports whether an error is PostgreSQL's with that code.
func hasCode(err error, code string) bool {
	var s *sentence
	return errors.As(err, &s) && s.code == code
}

// mayComeBack reports whether to try again after err.
func mayComeBack(err error) bool { return errors.Is(err, ErrAway) || errors.Is(err, ErrReadOnly) }
