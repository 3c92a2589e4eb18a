// What chats and people are called.
import { type StoredChat, type StoredMessage, type StoredPerson } from './store.js';

/** The longest name that is shown, in characters. */
const maxShown = 40;

/** A name of somebody else's as it is shown: nothing in it turns the direction of text, breaks a line or hides. */
export function printableName(name: string): string {
	const characters = [...name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\ufffd]/gu, '').replace(/\s+/gu, ' ').trim()];
	return characters.length > maxShown ? characters.slice(0, maxShown).join('') + '…' : characters.join('');
}

export const titleOf = (chat: Pick<StoredChat, 'name' | 'title'>): string => chat.title || printableName(chat.name) || 'A chat without a name';

/** The part of a key that people compare. */
export const shortKey = (key: string): string => key.slice(4, 10);

/**
 * Who wrote a message: as the person calls them; else as they call themselves, with ~ as that is their word alone, and the
 * beginning of their key.
 */
export function senderOf(message: Pick<StoredMessage, 'mine' | 'sender' | 'said'>, people: ReadonlyMap<string, StoredPerson>): string {
	if (message.mine) {
		return 'You';
	}
	if (message.sender === '') {
		return 'Somebody';
	}
	const name = people.get(message.sender)?.name;
	return name || (message.said ? `~${message.said} · ${shortKey(message.sender)}` : shortKey(message.sender));
}

/** Whether a chat shows no notifications now. */
export const isMuted = (chat: { readonly mutedUntil?: number | undefined } | undefined, now = Date.now()): boolean => (chat?.mutedUntil ?? 0) > now;
