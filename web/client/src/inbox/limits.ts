// What an inbox keeps at most. Beyond, the oldest goes first, and of messages the oldest that was read.

/** How many messages are kept in all. */
export const maxMessages = 10_000;
/** How many messages of one chat are kept. */
export const maxChatMessages = 1_000;
/** How many bytes of payloads are kept in all. */
export const maxBytes = 32 << 20;
/** The longest payload that is kept, in bytes; of a longer one its text alone is. */
export const maxKeptPayload = 64 << 10;
/** How many envelopes that no chat can open are kept until their key comes. */
export const maxUnopened = 512;
/** How many of them of one topic. */
export const maxTopicUnopened = 64;
/** Their bytes together. */
export const maxUnopenedBytes = 4 << 20;
/** How long they are kept, in milliseconds. */
export const unopenedAge = 30 * 24 * 3600_000;
/** How many messages wait to be sent. */
export const maxOutgoing = 256;
/** The longest message that is sent, in bytes. */
export const maxOutgoingPayload = 48 << 10;
/** The longest id of a quick action, in bytes. */
export const maxActionId = 64;
/** Envelopes of one message whose hashes are remembered, besides the first. */
export const maxCopies = 8;
/** Marks of messages that were removed. */
export const maxGone = 1 << 15;
/** Marks of messages that were read before they came. */
export const maxEarly = 1 << 12;
/** Hashes that the server is to be told of. */
export const maxTell = 1 << 14;
/** Marks of actions that were carried out. */
export const maxActions = 1 << 12;
/** Chats that were muted, and senders that were blocked. */
export const maxRegisters = 1 << 12;
/** Messages that could not be sent. */
export const maxFailures = 64;
