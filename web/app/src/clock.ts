// The right time, where the clock of this device is wrong: a server does not answer what is of the future.
import { type AppStore } from './store.js';

/** How far the clock here may be off without a word, in milliseconds. */
export const maxSkew = 2 * 60_000;

/** How far the server's clock is ahead of the one here, in milliseconds, to the second, by its answer to any question; undefined: it does not say. */
async function skewOf(origin: string): Promise<number | undefined> {
	const before = Date.now();
	const response = await fetch(origin + '/.well-known/whisperpush', { cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer' });
	await response.body?.cancel();
	const said = Date.parse(response.headers.get('date') ?? '');
	const skew = said - (before + Date.now()) / 2;
	return Number.isNaN(skew) ? undefined : Math.abs(skew) < maxSkew ? 0 : skew;
}

/** What is added to the clock of this device. It is kept, for the service worker. */
export class Skew {
	readonly #store: AppStore;
	readonly #origin: string;
	value: number;

	private constructor(store: AppStore, origin: string, value: number) {
		[this.#store, this.#origin, this.value] = [store, origin, value];
	}

	static async of(store: AppStore, origin: string): Promise<Skew> {
		return new Skew(store, origin, (await store.setting<number>('skew')) ?? 0);
	}

	/** Looks what the time is by the server at an address, and says whether it is another than was thought. */
	async look(origin = this.#origin): Promise<boolean> {
		const skew = await skewOf(origin);
		if (skew === undefined || Math.abs(skew - this.value) < maxSkew) {
			return false;
		}
		this.value = skew;
		await this.#store.set('skew', skew);
		return true;
	}
}
