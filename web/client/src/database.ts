/**
 * A database of IndexedDB with one table. It is opened when it is needed, and again after the
 * browser has cleared it or another page has removed it. Tabs and workers of an origin share it.
 */
export class Database {
	readonly #name: string;
	readonly #table: string;
	readonly #options: IDBObjectStoreParameters;
	#open: Promise<IDBDatabase> | undefined;

	/** @param name the name of the database, which is made if there is none */
	constructor(name: string, table: string, options: IDBObjectStoreParameters = {}) {
		[this.#name, this.#table, this.#options] = [name, table, options];
	}

	/**
	 * Has `act` make requests in one transaction. What is done with their results goes through
	 * `step`: if that throws, nothing is changed, and the promise rejects with the error. When the
	 * promise resolves the change is on the disk, and not only handed to the system.
	 */
	async change(act: (rows: IDBObjectStore, step: (then: () => void) => void) => void): Promise<void> {
		const database = await this.#opened();
		const transaction = database.transaction(this.#table, 'readwrite', { durability: 'strict' });
		await new Promise<void>((resolve, reject) => {
			let failure: { error: unknown } | undefined;
			transaction.oncomplete = () => resolve();
			transaction.onabort = () => reject(failure ? failure.error : transaction.error);
			act(transaction.objectStore(this.#table), (then) => {
				try {
					then();
				} catch (error) {
					failure = { error };
					transaction.abort();
				}
			});
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
			const opening = indexedDB.open(this.#name, 1);
			opening.onupgradeneeded = () => opening.result.createObjectStore(this.#table, this.#options);
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
