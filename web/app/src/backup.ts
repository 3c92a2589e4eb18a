// A file with all that the app keeps, sealed with a passphrase; and an app as it was, from such a file.
import { decodeValue, encodeValue, openBackup, sealBackup } from './client.js';
import { type Messenger } from './messenger.js';
import { type StoredChat, type StoredMessage, type StoredPerson } from './store.js';

const format = 1;

/** A chat in the file: with the key itself in place of what only this browser can read. */
type CopiedChat = Omit<StoredChat, 'with'> & { readonly with: { readonly topic: Uint8Array; readonly secret: Uint8Array } | { readonly person: string } | { readonly group: string } };

interface Copy {
	readonly format: typeof format;
	/** Unix milliseconds. */
	readonly made: number;
	readonly identity: Uint8Array;
	readonly inbox: Uint8Array;
	readonly name: string;
	readonly chats: readonly CopiedChat[];
	readonly messages: readonly StoredMessage[];
	readonly people: readonly StoredPerson[];
	readonly groups: unknown;
}

/** Makes the file, and tells which chats are not in it: those that were joined when their key could not be kept. */
export async function exported(messenger: Messenger, passphrase: string): Promise<{ file: Uint8Array; without: string[] }> {
	const { store } = messenger;
	const chats: CopiedChat[] = [];
	const without: string[] = [];
	for (const chat of await store.chats()) {
		if (!('key' in chat.with)) {
			chats.push({ ...chat, with: chat.with });
			continue;
		}
		const secret = await messenger.keyOf(chat);
		if (secret) {
			chats.push({ ...chat, with: { topic: chat.with.topic, secret } });
		} else {
			without.push(chat.name);
		}
	}
	const kept = new Set(chats.map((c) => c.id));
	const copy: Copy = {
		format, made: Date.now(), ...messenger.secrets, name: await messenger.name(), chats, people: [...(await store.people()).values()],
		messages: (await store.allMessages()).filter((m) => kept.has(m.chat) && !m.outgoing), groups: await messenger.groups.book.copy(),
	};
	return { file: await sealBackup(encodeValue(copy), passphrase), without };
}

/** Puts what is in a file in the place of all that is here. The app is to be opened anew after that. */
export async function restore(messenger: Messenger, file: Uint8Array, passphrase: string): Promise<void> {
	const copy = decodeValue(await openBackup(file, passphrase)) as Copy;
	if (copy.format !== format) {
		throw new Error('the file is of a later version of the app: take that one');
	}
	const chats: StoredChat[] = [];
	for (const chat of copy.chats) {
		chats.push('secret' in chat.with ? { ...chat, with: await messenger.shared(chat.with.topic, chat.with.secret) } : { ...chat, with: chat.with });
	}
	const identity = await messenger.sealedIdentity(copy.identity);
	await messenger.groups.book.restore(copy.groups);
	await messenger.store.replace(chats, copy.messages, copy.people, { identity, inbox: copy.inbox, name: copy.name, invitations: undefined, restored: copy.made });
}
