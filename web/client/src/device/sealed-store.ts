import { concat, equal, random, source } from '../bytes.js';
import { isProtocolError } from '../errors.js';
import { DeviceError } from './errors.js';
import { type Store } from './store.js';
import { decodeValue, encodeValue } from './values.js';

const ivSize = 12;
/** Under which the key is in the store. */
const keyName = 'sealing key';
/** How often a change is made anew because somebody else was quicker. */
const maxTries = 100;

/** A value as it lies in the store. */
interface SealedValue {
	readonly sealed: Uint8Array;
}

const isSealed = (held: unknown): held is SealedValue => (held as Partial<SealedValue> | undefined)?.sealed instanceof Uint8Array;

/** Says that the value in the store is not the one that was opened. */
class Overtaken extends Error {}

/**
 * Keeps what a device has, and groups, encrypted under a key of WebCrypto that no script can
 * read out: neither who copies the database's values, nor a backup of them, has the private
 * keys. A script of the origin can still use the key, and a browser may lay it on the disk as
 * it likes. Values that lie in the store as they are, of an earlier version, are taken, and
 * encrypted with the next change; {@link migrate} does so at once.
 */
export class SealedStore implements Store {
	readonly #store: Store;
	readonly #key: CryptoKey;
	readonly #turns = new Map<string, Promise<unknown>>();

	private constructor(store: Store, key: CryptoKey) {
		this.#store = store;
		this.#key = key;
	}

	/** Takes the key from a store that clones keys of WebCrypto, such as IndexedDbStore, or makes it there. */
	static async open(store: Store): Promise<SealedStore> {
		let key: CryptoKey | undefined;
		await store.update(keyName, (held) => {
			key = held as CryptoKey | undefined;
			return undefined;
		});
		if (!key) {
			const made = await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
			await store.update(keyName, (held) => {
				key = (held as CryptoKey | undefined) ?? made; // another window may have been quicker
				return held === undefined ? made : undefined;
			});
		}
		return new SealedStore(store, key!);
	}

	/** Encrypts bytes under the key of the store. */
	async seal(bytes: Uint8Array): Promise<Uint8Array> {
		const iv = random(ivSize);
		return concat(iv, new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv: source(iv) }, this.#key, source(bytes))));
	}

	/** Undoes {@link seal}. Rejects with a DeviceError, `damaged`. */
	async unseal(sealed: Uint8Array): Promise<Uint8Array> {
		try {
			const iv = source(sealed.subarray(0, ivSize));
			return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, this.#key, source(sealed.subarray(ivSize))));
		} catch (cause) {
			throw new DeviceError('damaged', 'what is in the store cannot be decrypted: it is damaged, or its key was removed', { cause });
		}
	}

	/** Encrypts a value of an earlier version, which lies in the store as it is. */
	async migrate(name: string): Promise<void> {
		const held = await this.#held(name);
		if (held !== undefined && !isSealed(held)) {
			await this.update(name, (value) => value);
		}
	}

	async update(name: string, change: (held: unknown) => unknown): Promise<void> {
		const before = this.#turns.get(name) ?? Promise.resolve();
		// Windows and workers take turns where the browser has locks for that.
		const locks = (globalThis.navigator as Navigator | undefined)?.locks;
		const turn = (): Promise<void> => this.#persist(name, change);
		const mine = before.then(() => (locks ? locks.request(`whisperpush store ${name}`, turn) : turn()));
		this.#turns.set(name, mine.catch(() => undefined));
		await mine;
	}

	async #persist(name: string, change: (held: unknown) => unknown): Promise<void> {
		for (let tries = 1; ; tries++) {
			try {
				return await this.#once(name, change);
			} catch (error) {
				if (!(error instanceof Overtaken) || tries >= maxTries) {
					throw error;
				}
			}
		}
	}

	async #once(name: string, change: (held: unknown) => unknown): Promise<void> {
		const held = await this.#held(name);
		const next = change(isSealed(held) ? await this.#decode(held.sealed) : held);
		if (next === undefined) {
			return;
		}
		const sealed = await this.seal(encodeValue(next));
		await this.#store.update(name, (now) => {
			const same = isSealed(held) ? isSealed(now) && equal(now.sealed, held.sealed) : !isSealed(now) && (now === undefined) === (held === undefined);
			if (!same) {
				throw new Overtaken();
			}
			return { sealed } satisfies SealedValue;
		});
	}

	// What lies in the store.
	async #held(name: string): Promise<unknown> {
		let held: unknown;
		await this.#store.update(name, (value) => {
			held = value;
			return undefined;
		});
		return held;
	}

	async #decode(sealed: Uint8Array): Promise<unknown> {
		const bytes = await this.unseal(sealed);
		try {
			return decodeValue(bytes);
		} catch (cause) {
			throw isProtocolError(cause) ? new DeviceError('damaged', 'what is in the store is damaged', { cause }) : cause;
		}
	}
}
