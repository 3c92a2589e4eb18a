import { Database } from '../database.js';

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

/**
 * Keeps the state in IndexedDB. Tabs, workers and the service worker of an origin share
 * it: a transaction of the database keeps them apart. Whoever can run scripts in the
 * origin can read the keys in it.
 */
export class IndexedDbStore implements Store {
	readonly #database: Database;

	/** @param database the name of the database, which is made if there is none */
	constructor(database = 'whisperpush') {
		this.#database = new Database(database, 'devices');
	}

	update(name: string, change: (held: unknown) => unknown): Promise<void> {
		return this.#database.change((values, step) => {
			const held = values.get(name);
			held.onsuccess = () => step(() => {
				const next = change(held.result);
				if (next !== undefined) {
					values.put(next, name);
				}
			});
		});
	}

	/** Closes the database. The next call opens it again. */
	close(): Promise<void> {
		return this.#database.close();
	}
}
