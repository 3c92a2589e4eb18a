// Package mailwire encodes and decodes the messages between a mail client and a
// mailserver, in both directions. It handles bytes only: no sockets, no clock, no
// encryption.
//
// # The conversation
//
//	client → server  packet 126  an envelope, encrypted to the mailserver and signed, that carries a Request
//	server → client  packet 127  what was asked for: one envelope, or (batch) a list of envelopes, repeated
//	server → client  packet 125  Complete: the end of the answer, with a cursor if there is more (not for Classic)
//
// The envelope of packet 126 is opened with the key derived from the
// mailserver's password or with the mailserver's private key. Its hash is the
// request id, which packet 125 repeats. A Plain request is the exception: it is
// not in an envelope, and it names its id itself.
//
// # Forms of a request
//
// Numbers are big-endian, times are Unix seconds and both ends of a range
// belong to it. [a, b] is an RLP list.
//
//	Classic  lower 4 ‖ upper 4                                  8 bytes: everything in the range
//	         lower 4 ‖ upper 4 ‖ bloom 64                       72 bytes: what the bloom filter covers
//	Fixed    lower 4 ‖ upper 4 ‖ bloom 64 ‖ limit 4             76 bytes
//	         lower 4 ‖ upper 4 ‖ bloom 64 ‖ limit 4 ‖ cursor 36 112 bytes
//	List     [lower, upper, bloom, limit, cursor, batch]        bloom of 0 or 64 bytes, cursor of 0, 36 or 40
//	         [lower, upper, bloom, limit, cursor, batch, [topic 4, …], [hash 32, …]]
//	         [lower, upper, bloom, limit, cursor, batch, [topic 4, …], [hash 32, …], prove]
//	Plain    [id 32, lower, upper, limit, cursor, bloom]        the packet itself
//
// Classic is what go-ethereum's mail client sends; its answer has no end mark
// and runs from the oldest envelope to the newest. The others are status-go's;
// their answer is one page, from the newest to the oldest, ended by a Complete.
// The trailing elements are an extension of this mailserver: exact topics, envelopes by
// their hash, and 1 to ask for a Proof. They may be missing; elements after them are
// ignored, so that the form can grow. Other mailservers reject a List with an extension as
// malformed.
//
// Bytes that follow a fixed form without reaching the length of the next one are
// ignored, as go-ethereum does. A payload that parses as a List is one, and any
// other is a fixed form; only a fixed form with a lower bound beyond the year 2072
// could be mistaken for a List.
//
// # Cursors
//
// To a client of status-go a cursor is 36 opaque bytes: it sends back the cursor of
// the last Complete until a Complete has none. The cursor of this mailserver holds
// a receive sequence, the number under which the archive committed an envelope,
// instead of a time that senders choose:
//
//	magic ff 77 70 63 ‖ flags 1 ‖ sequence 8 ‖ until 4 ‖ log 16 ‖ mark 3
//
// log is the identity of the log that the sequence belongs to, drawn when the
// archive was begun. A mailserver that gets the cursor of another log, because it
// was installed again or is a different one, begins again: it answers as if there
// were no cursor, in the same order. mark is the beginning of the hash of the
// envelope at that sequence. If the envelope there has another hash, the archive
// was restored to an earlier state, and the cursor counts as one of another log
// too. Zeros mean no identity and no mark, so cursors of clients and mailservers
// from before either existed keep their meaning.
//
// The client of this project uses a cursor made by Since(n) to ask for everything
// committed after sequence n, oldest first, whatever its sent time: a late or
// back-dated envelope is never missed. Each Complete of that order carries a
// cursor, and so does the last one (its Complete flag is set); the client keeps it
// for its next request.
//
// In that order the lower bound of the range is measured by the mailserver's clock.
// It is lowered by as much as the client's clock is ahead, which the time of the
// request's envelope shows, and by MaxClockSkew if it is in the future even so. The
// cursor skips envelopes below the bound for good.
//
// # Refusals
//
// A Complete may be a refusal: "ERROR=" ‖ id 32 ‖ text. The text is a word, a
// colon and a sentence (see Refusal). Classic requests cannot be refused, only
// dropped.
package mailwire
