// What the app keeps in IndexedDB, which its windows and its service worker share. The device
// keeps its own state in a database of its own, and so do groups.
import { type Sealed } from './client.js';

/** A chat, with a key that no script can read out. */
export interface StoredChat {
	readonly id: string;
	/** What its members know it by. */
	readonly name: string;
	/** What the person calls it; undefined: as its members do. */
	readonly title?: string;
	/** What is written and read with: a topic and key that its members share, somebody's own key, or a group. */
	readonly with: SharedKey | { readonly person: string } | { readonly group: string };
	readonly unread: number;
	readonly last: number;
	/** It shows no notifications up to then, Unix milliseconds. */
	readonly mutedUntil?: number;
}

/** A topic and a key that the members of a chat share. No script can read it out of `key`. */
export interface SharedKey {
	readonly topic: Uint8Array;
	readonly key: CryptoKey;
	/** The same key, encrypted, for links and for the file of an export; undefined: the chat was joined before there was one. */
	readonly secret?: Uint8Array;
}

/** A message that was received or sent. */
export interface StoredMessage {
	/** The hash of its envelope, or of what is in it for one of ours: it may go out in several envelopes. */
	readonly hash: string;
	readonly chat: string;
	readonly text: string;
	/** The key it was signed with; empty: nobody signed it. */
	readonly sender: string;
	/** What the sender calls themselves. */
	readonly said?: string;
	readonly mine: boolean;
	/** When it was sent, by the claim of its envelope. */
	readonly at: number;
	/** By which a chat is sorted: when it came to this browser, as nobody's claim counts for more. */
	readonly order: number;
	/** It is to the person by name. */
	readonly mention?: boolean;
	/** Of ours: it has not been sent yet, or the server does not take it, and why. */
	readonly outgoing?: { readonly failed?: string };
}

/** What the person has noted of somebody. */
export interface StoredPerson {
	/** Their public key, in hexadecimal with 0x. */
	readonly key: string;
	/** What the person calls them; empty: nothing. */
	readonly name: string;
	readonly blocked: boolean;
	/** Where messages to them go; undefined: they have not told. */
	readonly topic?: Uint8Array;
}

/** A message that is to be sent, in the order of `at`. */
export interface Outgoing {
	/** The hash of the message. */
	readonly id: string;
	readonly at: number;
	/** What goes out: encrypted already, or to be encrypted for the members of a group as they are then. */
	readonly what: Sealed | { readonly group: string; readonly name: string; readonly text: string; readonly mentioned: readonly string[] };
}

/** How many messages of a chat are kept; the oldest go. */
const maxMessages = 1000;
/** How many messages wait to be sent. */
export const maxOutgoing = 256;

const done = (transaction: IDBTransaction): Promise<void> =>
	new Promise((resolve, reject) => {
		transaction.oncomplete = () => resolve();
		transaction.onabort = () => reject(transaction.error);
	});

const result = <T>(request: IDBRequest<T>): Promise<T> =>
	new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});

type Table = 'chats' | 'messages' | 'settings' | 'people' | 'outbox';

export class AppStore {
	readonly #database: Promise<IDBDatabase>;

	/** @param blocked is called when another window that is of an older version is in the way */
	constructor(blocked: () => void = () => undefined) {
		this.#database = new Promise((resolve, reject) => {
			const opening = indexedDB.open('whisperpush-app', 3);
			opening.onupgradeneeded = ({ oldVersion }) => {
				const database = opening.result;
				if (oldVersion < 1) {
					database.createObjectStore('chats', { keyPath: 'id' });
					database.createObjectStore('messages', { keyPath: 'hash' }).createIndex('chat', ['chat', 'order']);
					database.createObjectStore('settings');
				}
				if (oldVersion < 2) {
					database.createObjectStore('people', { keyPath: 'key' });
					database.createObjectStore('outbox', { keyPath: 'id' }).createIndex('at', 'at');
				}
				if (oldVersion < 3) {
					asOfVersion3(opening.transaction!);
				}
			};
			opening.onblocked = blocked;
			opening.onsuccess = () => {
				opening.result.onversionchange = () => opening.result.close(); // a newer window is to open it
				resolve(opening.result);
			};
			opening.onerror = () => reject(opening.error);
		});
	}

	async #read<T>(table: Table, ask: (rows: IDBObjectStore) => IDBRequest<T>): Promise<T> {
		return result(ask((await this.#database).transaction(table).objectStore(table)));
	}

	/** Hands the tables to `change`, in one transaction, which is on the disk when this resolves. */
	async #change<T>(tables: Table[], change: (...rows: IDBObjectStore[]) => Promise<T>): Promise<T> {
		const transaction = (await this.#database).transaction(tables, 'readwrite');
		const finished = done(transaction);
		finished.catch(() => undefined);
		const value = await change(...tables.map((t) => transaction.objectStore(t)));
		await finished;
		return value;
	}

	async chats(): Promise<StoredChat[]> {
		const all = await this.#read<StoredChat[]>('chats', (rows) => rows.getAll());
		return all.sort((a, b) => b.last - a.last);
	}

	chat(id: string): Promise<StoredChat | undefined> {
		return this.#read('chats', (rows) => rows.get(id));
	}

	messages(chat: string): Promise<StoredMessage[]> {
		return this.#read('messages', (rows) => rows.index('chat').getAll(ofChat(chat)));
	}

	setting<T>(name: string): Promise<T | undefined> {
		return this.#read('settings', (rows) => rows.get(name));
	}

	async set(name: string, value: unknown): Promise<void> {
		await this.#change(['settings'], async (rows) => void rows.put(value, name));
	}

	/** Keeps settings in one step; undefined: there is none any more. */
	async setAll(settings: Record<string, unknown>): Promise<void> {
		await this.#change(['settings'], async (rows) => Object.entries(settings).forEach(([name, value]) => (value === undefined ? rows.delete(name) : rows.put(value, name))));
	}

	/** Keeps a setting unless there is one already, and returns the one that is there then. */
	settle<T>(name: string, value: T): Promise<T> {
		return this.#change(['settings'], async (rows) => {
			const held = await result<T | undefined>(rows.get(name));
			if (held === undefined) {
				rows.put(value, name);
			}
			return held ?? value;
		});
	}

	async addChat(chat: StoredChat): Promise<void> {
		await this.#change(['chats'], async (rows) => void rows.put(chat));
	}

	/** Changes a setting in one step. */
	alter<T>(name: string, change: (held: T | undefined) => T): Promise<T> {
		return this.#change(['settings'], async (rows) => {
			const next = change(await result<T | undefined>(rows.get(name)));
			rows.put(next, name);
			return next;
		});
	}

	/** Changes what is kept of a chat, if it is there. */
	async changeChat(id: string, change: (chat: StoredChat) => StoredChat): Promise<void> {
		await this.#change(['chats'], async (rows) => {
			const chat = await result<StoredChat | undefined>(rows.get(id));
			if (chat) {
				rows.put(change(chat));
			}
		});
	}

	/** Removes a chat with its messages. */
	async removeChat(id: string): Promise<void> {
		await this.#change(['chats', 'messages', 'outbox'], async (chats, messages, outbox) => {
			chats!.delete(id);
			const hashes = await result(messages!.index('chat').getAllKeys(ofChat(id)));
			hashes.forEach((hash) => {
				messages!.delete(hash);
				outbox!.delete(hash);
			});
		});
	}

	/** All messages. */
	allMessages(): Promise<StoredMessage[]> {
		return this.#read('messages', (rows) => rows.getAll());
	}

	/** Has these in place of all that was there, but the settings that are not named. */
	async replace(chats: readonly StoredChat[], messages: readonly StoredMessage[], people: readonly StoredPerson[], settings: Record<string, unknown>): Promise<void> {
		await this.#change(['chats', 'messages', 'people', 'outbox', 'settings'], async (...rows) => {
			rows.slice(0, 4).forEach((table) => table.clear());
			[chats, messages, people].forEach((all, i) => all.forEach((row) => rows[i]!.put(row)));
			Object.entries(settings).forEach(([name, value]) => (value === undefined ? rows[4]!.delete(name) : rows[4]!.put(value, name)));
		});
	}

	/** Keeps a message, and counts it as unread unless it is ours or read. Tells whether it is new: neither it nor `alias` was there. */
	add(message: StoredMessage, read: boolean, alias = message.hash): Promise<boolean> {
		return this.#change(['chats', 'messages'], async (chats, messages) => this.#put(chats!, messages!, message, read, alias));
	}

	async #put(chats: IDBObjectStore, messages: IDBObjectStore, message: StoredMessage, read: boolean, alias: string): Promise<boolean> {
		const chat = await result<StoredChat | undefined>(chats.get(message.chat));
		if (!chat || (await result(messages.get(message.hash))) || (await result(messages.get(alias)))) {
			return false;
		}
		messages.put(message);
		chats.put({ ...chat, last: Math.max(chat.last, message.at), unread: chat.unread + (message.mine || read ? 0 : 1) });
		const index = messages.index('chat');
		let excess = (await result(index.count(ofChat(chat.id)))) - maxMessages;
		if (excess > 0) {
			index.openCursor(ofChat(chat.id)).onsuccess = (event) => {
				const cursor = (event.target as IDBRequest<IDBCursorWithValue | null>).result;
				if (cursor && excess-- > 0) {
					cursor.delete();
					cursor.continue();
				}
			};
		}
		return true;
	}

	/** Notes that a message is to the person by name. Says whether that is new, and the message not read yet. */
	noteMention(hash: string): Promise<boolean> {
		return this.#change(['chats', 'messages'], async (chats, messages) => {
			const held = await result<StoredMessage | undefined>(messages!.get(hash));
			if (!held || held.mention || held.mine) {
				return false;
			}
			messages!.put({ ...held, mention: true });
			return ((await result<StoredChat | undefined>(chats!.get(held.chat)))?.unread ?? 0) > 0;
		});
	}

	async markRead(id: string): Promise<void> {
		await this.changeChat(id, (chat) => (chat.unread > 0 ? { ...chat, unread: 0 } : chat));
	}

	/** Those whom the person has noted something of, by their keys. */
	async people(): Promise<Map<string, StoredPerson>> {
		const all = await this.#read<StoredPerson[]>('people', (rows) => rows.getAll());
		return new Map(all.map((p) => [p.key, p]));
	}

	async changePerson(key: string, change: (person: StoredPerson) => StoredPerson): Promise<void> {
		await this.#change(['people'], async (rows) => {
			rows.put(change((await result<StoredPerson | undefined>(rows.get(key))) ?? { key, name: '', blocked: false }));
		});
	}

	/** Keeps a message of ours and that it is to be sent. */
	async queue(message: StoredMessage, outgoing: Outgoing): Promise<void> {
		const refused = await this.#change(['chats', 'messages', 'outbox'], async (chats, messages, outbox) => {
			if ((await result(outbox!.count())) >= maxOutgoing) {
				return `${maxOutgoing} messages wait to be sent, and no more can`;
			}
			if (!(await this.#put(chats!, messages!, { ...message, outgoing: {} }, true, message.hash))) {
				return 'the chat is not there any more';
			}
			outbox!.put(outgoing);
			return undefined;
		});
		if (refused) {
			throw new Error(refused);
		}
	}

	/** Keeps that something is to be sent which is no message of a chat. */
	async queueAlone(outgoing: Outgoing): Promise<void> {
		await this.#change(['outbox'], async (outbox) => void outbox.put(outgoing));
	}

	/** What is to be sent, in the order in which it was written. */
	outgoing(): Promise<Outgoing[]> {
		return this.#read('outbox', (rows) => rows.index('at').getAll());
	}

	/** Notes that a message went out, or that the server does not take it. */
	async sent(id: string, failed?: string): Promise<void> {
		await this.#change(['messages', 'outbox'], async (messages, outbox) => {
			outbox!.delete(id);
			const held = await result<StoredMessage | undefined>(messages!.get(id));
			if (held) {
				const { outgoing: _, ...message } = held;
				messages!.put(failed === undefined ? message : { ...message, outgoing: { failed } });
			}
		});
	}
}

// A chat had the topic and key of its members in itself, and what was to be sent likewise.
function asOfVersion3(transaction: IDBTransaction): void {
	const each = (table: Table, change: (row: Record<string, unknown>) => unknown): void => {
		transaction.objectStore(table).openCursor().onsuccess = (event) => {
			const cursor = (event.target as IDBRequest<IDBCursorWithValue | null>).result;
			if (cursor) {
				cursor.update(change(cursor.value as Record<string, unknown>));
				cursor.continue();
			}
		};
	};
	each('chats', ({ topic, key, ...chat }) => (chat['with'] ? chat : { ...chat, with: { topic, key } }));
	each('outbox', ({ topic, data, ...row }) => (row['what'] ? row : { ...row, what: { topic, data } }));
}

const ofChat = (id: string): IDBKeyRange => IDBKeyRange.bound([id, -Infinity], [id, Infinity]);
