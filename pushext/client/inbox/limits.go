package inbox

import "time"

// Limits of what an inbox keeps. Beyond them the oldest goes first; of messages, the
// oldest that was read.
const (
	// MaxMessages is how many messages are kept in all, and MaxChatMessages how many
	// in one chat.
	MaxMessages     = 10_000
	MaxChatMessages = 1_000
	// MaxBytes is how many bytes of payloads are kept in all, and MaxPayload how many
	// of one message. Of a longer message only the text is kept, see Message.Cut.
	MaxBytes   = 32 << 20
	MaxPayload = 64 << 10
	// MaxUnopened is how many envelopes that no chat can open are kept until their key
	// arrives, MaxTopicUnopened how many on one topic, and MaxUnopenedBytes their
	// bytes together.
	MaxUnopened      = 512
	MaxTopicUnopened = 64
	MaxUnopenedBytes = 4 << 20
	// UnopenedAge is how long they are kept.
	UnopenedAge = 30 * 24 * time.Hour
	// MaxOutgoing is how many messages may wait to be sent. More are refused
	// (ErrFull).
	MaxOutgoing = 256
	// MaxOutgoingPayload is the longest message that can be sent, in bytes.
	MaxOutgoingPayload = 48 << 10
	// MaxActionID is the longest id of a quick action, in bytes.
	MaxActionID = 64

	maxCopies    = 8       // envelopes of one message whose hashes are remembered, besides the first
	maxGone      = 1 << 15 // marks of messages that were removed
	maxEarly     = 1 << 12 // marks of messages that were read before they arrived
	maxTell      = 1 << 14 // hashes that the server is to be told of
	maxActions   = 1 << 12 // marks of actions that were carried out
	maxRegisters = 1 << 12 // chats that were muted, and senders that were blocked
	maxFailures  = 64      // messages that could not be sent
	maxText      = 4096    // bytes of a text
)
