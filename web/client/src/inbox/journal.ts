import { Database } from '../database.js';
import { type InboxRecord } from './records.js';

/** What a journal keeps under increasing numbers. */
export interface Written {
	readonly number: number;
	readonly record: InboxRecord;
}

/**
 * Keeps the records of an inbox, of which several tabs, workers and the service worker may have the same.
 */
export interface Journal {
	/**
	 * Hands what was written behind a number to `change`, and writes what that returns: behind what is there,
	 * or in its place. Nobody else writes in between, and all of it is kept for good when the promise
	 * resolves. If `change` throws, nothing is written and the promise rejects with the error. Returns the number of the
	 * last record that is there.
	 */
	update(after: number, change: (written: readonly Written[]) => { readonly records: readonly InboxRecord[]; readonly inPlace: boolean }): Promise<number>;
}

/** Keeps the records as long as the page lives. */
export class MemoryJournal implements Journal {
	#written: Written[] = [];
	#last = 0;

	async update(after: number, change: (written: readonly Written[]) => { readonly records: readonly InboxRecord[]; readonly inPlace: boolean }): Promise<number> {
		const { records, inPlace } = change(structuredClone(this.#written.filter((w) => w.number > after)));
		const fresh = structuredClone(records).map((record) => ({ number: ++this.#last, record }));
		this.#written = inPlace ? fresh : [...this.#written, ...fresh];
		return this.#last;
	}
}

/** Keeps the records in IndexedDB. Whoever can run scripts in the origin can read them. */
export class IndexedDbJournal implements Journal {
	readonly #database: Database;

	/** @param name the name of the database, which is made if there is none */
	constructor(name = 'whisperpush-inbox') {
		this.#database = new Database(name, 'records', { autoIncrement: true });
	}

	async update(after: number, change: (written: readonly Written[]) => { readonly records: readonly InboxRecord[]; readonly inPlace: boolean }): Promise<number> {
		let last = after;
		await this.#database.change((rows, step) => {
			const range = IDBKeyRange.lowerBound(after, true);
			const [keys, values] = [rows.getAllKeys(range), rows.getAll(range)];
			values.onsuccess = () => step(() => {
				const written = (values.result as InboxRecord[]).map((record, i) => ({ number: keys.result[i] as number, record }));
				last = written.at(-1)?.number ?? after;
				const { records, inPlace } = change(written);
				if (inPlace) {
					rows.clear(); // its numbers go on
				}
				for (const record of records) {
					const put = rows.put(record);
					put.onsuccess = () => (last = put.result as number);
				}
			});
		});
		return last;
	}

	/** Closes the database. The next call opens it again. */
	close(): Promise<void> {
		return this.#database.close();
	}
}
