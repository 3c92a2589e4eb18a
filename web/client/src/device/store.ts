/**
 * Keeps the state of devices, one value under each name: a few kilobytes, and some
 * hundred after years, which hold private keys. A value is anything that the structured
 * clone algorithm copies: objects, arrays, numbers, bigints, bytes.
 */
export interface Store {
	/**
	 * Hands what is kept under a name, undefined if there is nothing, to `change`, and keeps
	 * what that returns instead, unless it is undefined. Nobody else, in this page, another
	 * tab or a worker, changes the value in between, and the value is kept for good when the
	 * promise resolves. If `change` throws, everything stays as it was and the promise
	 * rejects with the error.
	 */
	update(name: string, change: (held: unknown) => unknown): Promise<void>;
}

/** Keeps the state as long as the page lives. */
export class MemoryStore implements Store {
	readonly #values = new Map<string, unknown>();

	async update(name: string, change: (held: unknown) => unknown): Promise<void> {
		// Copies both ways, as any other store makes them.
		const next = change(structuredClone(this.#values.get(name)));
		if (next !== undefined) {
			this.#values.set(name, structuredClone(next));
		}
	}
}

const table = 'devices';

/**
 * Keeps the state in IndexedDB. Tabs, workers and the service worker of an origin share
 * it: a transaction of the database keeps them apart. Whoever can run scripts in the
 * origin can read the keys in it.
 */
export class IndexedDbStore implements Store {
	readonly #database: string;
	#open: Promise<IDBDatabase> | undefined;

	/** @param database the name of the database, which is made if there is none */
	constructor(database = 'whisperpush') {
		this.#database = database;
	}

	async update(name: string, change: (held: unknown) => unknown): Promise<void> {
		const database = await this.#opened();
		// On the disk when it says so, and not when it is handed to the system.
		const transaction = database.transaction(table, 'readwrite', { durability: 'strict' });
		const values = transaction.objectStore(table);
		await new Promise<void>((resolve, reject) => {
			let failure: { error: unknown } | undefined;
			const held = values.get(name);
			held.onsuccess = () => {
				try {
					const next = change(held.result);
					if (next !== undefined) {
						values.put(next, name);
					}
				} catch (error) {
					failure = { error };
					transaction.abort();
				}
			};
			transaction.oncomplete = () => resolve();
			transaction.onabort = () => reject(failure ? failure.error : transaction.error);
		});
	}

	/** Closes the database. The next call opens it again. */
	async close(): Promise<void> {
		const open = this.#open;
		this.#open = undefined;
		(await open)?.close();
	}

	#opened(): Promise<IDBDatabase> {
		if (this.#open) {
			return this.#open;
		}
		const forget = () => {
			this.#open = undefined;
		};
		const opened = new Promise<IDBDatabase>((resolve, reject) => {
			const opening = indexedDB.open(this.#database, 1);
			opening.onupgradeneeded = () => opening.result.createObjectStore(table);
			opening.onerror = () => reject(opening.error);
			opening.onsuccess = () => {
				const database = opening.result;
				database.onclose = forget; // the browser cleared the site's data
				database.onversionchange = () => {
					// Somebody removes the database, and waits for us to let go.
					forget();
					database.close();
				};
				resolve(database);
			};
		});
		this.#open = opened;
		opened.catch(forget); // the next call tries again
		return opened;
	}
}
