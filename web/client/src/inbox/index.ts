/**
 * What the user of an app has of their messages on one device: the messages and chats, what was
 * read, which notifications the platform shows, and how much is unread. It stands on a device that was opened
 * with `complete`, keeps all of it in one journal, and decides what is shown ({@link decide}). The app
 * shows, replaces and removes notifications when it is told to, and tells the inbox what the user does.
 * It is what the Go package pushext/client/inbox is, and held to it by shared vectors.
 *
 * @module
 */
export { type CoreConfig as InboxConfig, type InboxApp, type InboxDevice, type InboxNotification } from './core.js';
export { Attention, decide, type Decision, type Facts, Manner } from './decide.js';
export {
	type Action, type ActionKind, Inbox, type InboxChat, type InboxCounts, InboxError, type InboxErrorCode, type InboxMessage, type InboxOutgoing, type Target,
} from './inbox.js';
export { IndexedDbJournal, type Journal, MemoryJournal, type Written } from './journal.js';
export { chatLink, formatLink, type Link, LinkError, type LinkErrorCode, messageLink, parseLink } from './link.js';
export { type Failure } from './model.js';
export { type InboxRecord } from './records.js';
