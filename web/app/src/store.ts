// What the app keeps in IndexedDB, which its windows and its service worker share. The device
// keeps its own state in a database of its own.

/** A chat, with a key that no script can read out. */
export interface StoredChat {
	readonly id: string;
	readonly name: string;
	readonly topic: Uint8Array;
	readonly key: CryptoKey;
	readonly unread: number;
	readonly last: number;
}

/** A message that was received or sent. */
export interface StoredMessage {
	/** The hash of its envelope. */
	readonly hash: string;
	readonly chat: string;
	readonly text: string;
	/** The key it was signed with; empty: nobody signed it. */
	readonly sender: string;
	readonly mine: boolean;
	/** When it was sent, by the claim of its envelope. */
	readonly at: number;
	/** By which a chat is sorted: when it came to this browser, as nobody's claim counts for more. */
	readonly order: number;
}

/** How many messages of a chat are kept; the oldest go. */
const maxMessages = 1000;

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

export class AppStore {
	readonly #database: Promise<IDBDatabase>;

	constructor() {
		this.#database = new Promise((resolve, reject) => {
			const opening = indexedDB.open('whisperpush-app', 1);
			opening.onupgradeneeded = () => {
				opening.result.createObjectStore('chats', { keyPath: 'id' });
				opening.result.createObjectStore('messages', { keyPath: 'hash' }).createIndex('chat', ['chat', 'order']);
				opening.result.createObjectStore('settings');
			};
			opening.onsuccess = () => resolve(opening.result);
			opening.onerror = () => reject(opening.error);
		});
	}

	async chats(): Promise<StoredChat[]> {
		const all = await result<StoredChat[]>((await this.#database).transaction('chats').objectStore('chats').getAll());
		return all.sort((a, b) => b.last - a.last);
	}

	async messages(chat: string): Promise<StoredMessage[]> {
		const index = (await this.#database).transaction('messages').objectStore('messages').index('chat');
		return result(index.getAll(IDBKeyRange.bound([chat, -Infinity], [chat, Infinity])));
	}

	async setting<T>(name: string): Promise<T | undefined> {
		return result((await this.#database).transaction('settings').objectStore('settings').get(name));
	}

	/** Keeps a setting unless there is one already, and returns the one that is there then. */
	async settle<T>(name: string, value: T): Promise<T> {
		const transaction = (await this.#database).transaction('settings', 'readwrite');
		const settings = transaction.objectStore('settings');
		const held = await result<T | undefined>(settings.get(name));
		if (held === undefined) {
			settings.put(value, name);
		}
		await done(transaction);
		return held ?? value;
	}

	async addChat(chat: StoredChat): Promise<void> {
		const transaction = (await this.#database).transaction('chats', 'readwrite');
		transaction.objectStore('chats').put(chat);
		await done(transaction);
	}

	/** Keeps a message, and counts it as unread unless it is ours or read. Tells whether it is new. */
	async add(message: StoredMessage, read: boolean): Promise<boolean> {
		const transaction = (await this.#database).transaction(['chats', 'messages'], 'readwrite');
		const [chats, messages] = [transaction.objectStore('chats'), transaction.objectStore('messages')];
		const chat = await result<StoredChat | undefined>(chats.get(message.chat));
		if (!chat || (await result(messages.get(message.hash)))) {
			return false;
		}
		messages.put(message);
		chats.put({ ...chat, last: Math.max(chat.last, message.at), unread: chat.unread + (message.mine || read ? 0 : 1) });
		const index = messages.index('chat');
		const range = IDBKeyRange.bound([chat.id, -Infinity], [chat.id, Infinity]);
		let excess = (await result(index.count(range))) - maxMessages;
		if (excess > 0) {
			index.openCursor(range).onsuccess = (event) => {
				const cursor = (event.target as IDBRequest<IDBCursorWithValue | null>).result;
				if (cursor && excess-- > 0) {
					cursor.delete();
					cursor.continue();
				}
			};
		}
		await done(transaction);
		return true;
	}

	async markRead(id: string): Promise<void> {
		const transaction = (await this.#database).transaction('chats', 'readwrite');
		const chats = transaction.objectStore('chats');
		const chat = await result<StoredChat | undefined>(chats.get(id));
		if (chat && chat.unread > 0) {
			chats.put({ ...chat, unread: 0 });
		}
		await done(transaction);
	}
}
