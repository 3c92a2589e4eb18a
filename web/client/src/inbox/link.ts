// Links to chats and messages. In ABNF, with HEXDIG of either case:
//
//	link    = "whisper:" ( message / chat [ "/" message ] )
//	chat    = topic [ "." tag ]       ; without a tag: any chat of the topic
//	topic   = "0x" 8HEXDIG
//	tag     = 16HEXDIG                ; tells chats of one topic apart, see chatId
//	message = "0x" 64HEXDIG           ; hash of an envelope

/** The scheme of links to chats and messages. */
export const scheme = 'whisper';
/** More than the longest link has, in bytes. */
const maxLink = 128;

/**
 * What is wrong with a link: it has the scheme and is no link; it is of another scheme, or leads
 * to a chat that the user does not have; the chat is there and the message is not, and never was as far as
 * is known; the message was there and was removed.
 */
export type LinkErrorCode = 'malformed' | 'foreign' | 'unknown' | 'expired';

export class LinkError extends Error {
	override readonly name = 'LinkError';
	constructor(readonly code: LinkErrorCode, message: string) {
		super(message);
	}
}

/** A link as it was read, in lower case. */
export interface Link {
	/** With 0x; undefined: the link names no chat. */
	readonly topic: string | undefined;
	/** 16 digits; undefined: any chat of the topic. */
	readonly tag: string | undefined;
	/** With 0x; undefined: the link leads to a chat. */
	readonly message: string | undefined;
}

/** Returns the link to a chat, by its id. */
export const chatLink = (chat: string): string => `${scheme}:${chat}`;

/** Returns the link to a message of a chat. */
export const messageLink = (chat: string, message: string): string => `${chatLink(chat)}/${message}`;

/** Returns a link in its one form. */
export function formatLink({ topic, tag, message }: Link): string {
	const chat = topic && topic + (tag === undefined ? '' : '.' + tag);
	return `${scheme}:${[chat, message].filter((part) => part !== undefined).join('/')}`;
}

const form = /^(?:(0x[0-9a-f]{64})|(0x[0-9a-f]{8})(?:\.([0-9a-f]{16}))?(?:\/(0x[0-9a-f]{64}))?)$/;

/** Reads a link. Throws a {@link LinkError}: `foreign` for another scheme, and else `malformed`. */
export function parseLink(text: string): Link {
	const at = text.slice(0, maxLink + 1).indexOf(':');
	if (at < 0 || !/^whisper$/iu.test(text.slice(0, at))) {
		throw new LinkError('foreign', `the link is not of the scheme "${scheme}"`);
	}
	// The x of 0x has one case, as everywhere else.
	const rest = text.slice(at + 1);
	const found = text.length <= maxLink && !rest.includes('X') ? form.exec(rest.toLowerCase()) : null;
	if (!found) {
		throw new LinkError('malformed', 'the link does not have the form of one');
	}
	const [, alone, topic, tag, message] = found;
	return { topic, tag, message: alone ?? message };
}
