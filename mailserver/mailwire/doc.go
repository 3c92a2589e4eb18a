// Package mailwire encodes and decodes what a mail client and a mailserver say
// to each other, in both directions. It holds bytes only: no sockets, no clock,
// no encryption.
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
//	Plain    [id 32, lower, upper, limit, cursor, bloom]        the packet itself
//
// Classic is what go-ethereum's mail client sends; its answer has no end mark
// and runs from the oldest envelope to the newest. The others are status-go's;
// their answer is one page, from the newest to the oldest, ended by a Complete.
// The two trailing lists are an extension of this mailserver: exact topics, and
// envelopes by their hash. Either may be missing; what follows them is ignored,
// so that the form can grow. A mailserver of another make takes a List with an
// extension for malformed.
//
// Bytes that follow a fixed form without reaching the length of the next one are
// ignored, as go-ethereum does. A payload is taken for a List if it is one, and
// for a fixed form otherwise; a fixed form would need a lower bound beyond the
// year 2072 to be mistaken.
//
// # Cursors
//
// To a client of status-go a cursor is 36 opaque bytes: it sends back the one of
// the last Complete until a Complete comes without. Ours holds a receive
// sequence, the number under which the archive committed an envelope, instead of
// a time that senders choose:
//
//	magic ff 77 70 63 ‖ flags 1 ‖ sequence 8 ‖ until 4 ‖ log 16 ‖ mark 3
//
// log is the identity of the log that the sequence belongs to, drawn when the
// archive was begun. A mailserver that is asked with the cursor of another log,
// because it was installed again or is another one, begins again: it gives what it
// would give without a cursor, in the same order. mark is the beginning of the hash
// of the envelope at that sequence, and another one there is another log as well:
// its archive was put back to an earlier state. Zeros are no identity and no mark:
// cursors of clients and mailservers from before there were any keep meaning what
// they did.
//
// A client of ours asks with a cursor made by Since(n) for everything that was
// committed after sequence n, oldest first, whatever time it claims to be from:
// a late or back-dated envelope is never missed. Each Complete of that order
// carries a cursor, the last one too (its Complete flag is set); the client
// keeps it for its next question.
//
// In that order the lower bound of the range is by the mailserver's clock: it is
// lowered by what the client's is ahead, which the time of the request's envelope
// tells, and by MaxClockSkew if it is in the future even so. What it leaves out the
// cursor passes over for good.
//
// # Refusals
//
// A Complete may be a refusal: "ERROR=" ‖ id 32 ‖ text. The text is a word, a
// colon and a sentence (see Refusal). Classic requests cannot be refused, only
// dropped.
package mailwire
