import { equal, fromHex, hex } from '../bytes.js';
import { type Succession } from '../push/succession.js';
import { type PublicKey } from '../whisper/keys.js';
import { type Clock } from './clock.js';
import { DeviceError } from './errors.js';
import { aliasIn, aliasOf, Inbox, maxFormerKeys, newState, readState, type State } from './state.js';
import { type Store } from './store.js';

/** A device's state in its store, under the name of its mailserver. Nothing of it is kept in memory but the keys, so that tabs and workers can share it. */
export class Account {
	readonly registrationKey: Uint8Array;
	readonly sealKey: Uint8Array;
	readonly #store: Store;
	readonly #name: string;

	private constructor(store: Store, name: string, state: State) {
		this.#store = store;
		this.#name = name;
		this.registrationKey = state.registrationKey;
		this.sealKey = state.sealKey;
	}

	/**
	 * Reads the account, or begins it. It is written at once, so that two tabs that open a new
	 * device have the same keys. It is that of the push key, or the one that went on with it;
	 * if there is neither, that of the first of the former keys that has one.
	 */
	static async open(store: Store, pushKey: PublicKey, formerKeys: readonly PublicKey[], clock: Clock): Promise<Account> {
		const own = hex(pushKey);
		let name: string | undefined;
		for (const key of [pushKey, ...formerKeys]) {
			name ??= await find(store, hex(key));
		}
		name ??= own;
		if (name !== own) {
			await leadTo(store, own, name);
		}
		let state: State | undefined;
		await store.update(name, (held) => {
			const fresh = held === undefined || aliasIn(held) !== undefined;
			state = fresh ? newState(clock.now()) : readState(held);
			const had = [keyOf(state, name), ...(state.formerKeys ?? []), fromHex(name)];
			if (had.some((key) => equal(key, pushKey))) {
				return fresh ? state : undefined;
			}
			// By the app's word. Nothing is signed that would join the two.
			state.pushKey = pushKey;
			delete state.formerKeys;
			return state;
		});
		return new Account(store, name, state!);
	}

	/** The server's push keys: the present one, and before it those that led to it. */
	pushKeys(): Promise<PublicKey[]> {
		return this.read((s) => [...(s.formerKeys ?? []), keyOf(s, this.#name)]);
	}

	/** Goes on with another push key along successions that were verified. Returns the one that the account has then, which another tab may have changed. */
	async goOn(path: readonly Succession[]): Promise<PublicKey> {
		// It can be found under the next key before it has it: a crash between leaves it at the former.
		for (const { next } of path) {
			await leadTo(this.#store, hex(next), this.#name);
		}
		return this.change((s) => {
			for (const { former, next } of path) {
				if (equal(keyOf(s, this.#name), former)) {
					s.formerKeys = [...(s.formerKeys ?? []), former].slice(-maxFormerKeys);
					s.pushKey = next;
				}
			}
			return keyOf(s, this.#name);
		});
	}

	/** Hands the state to `change` and keeps what that made of it. Nobody else changes the state in between. */
	change<T>(change: (s: State) => T): Promise<T> {
		return this.#update(change, true);
	}

	/** Hands the state to `look`, and changes nothing. */
	read<T>(look: (s: Readonly<State>) => T): Promise<T> {
		return this.#update(look, false);
	}

	/** The same as `change`, with what the state remembers of messages. */
	inbox<T>(change: (inbox: Inbox, s: State) => T): Promise<T> {
		return this.change((s) => {
			const inbox = new Inbox(s);
			const result = change(inbox, s);
			inbox.close();
			return result;
		});
	}

	async #update<T>(change: (s: State) => T, write: boolean): Promise<T> {
		let result: { value: T } | undefined;
		await this.#store.update(this.#name, (held) => {
			// The browser may have cleared the site's data, or a person begun anew.
			const state = held === undefined ? undefined : readState(held);
			if (!state || !equal(state.registrationKey, this.registrationKey)) {
				throw new DeviceError('replaced', 'the device was removed from the store or begun anew; open it again, and register');
			}
			result = { value: change(state) };
			return write ? state : undefined;
		});
		return result!.value;
	}
}

/** The push key of an account that is named by its first one. */
const keyOf = (s: Readonly<State>, name: string): PublicKey => s.pushKey ?? fromHex(name);

/** Has an account be found under another name too, unless there is something under that. */
const leadTo = (store: Store, name: string, account: string): Promise<void> =>
	store.update(name, (held) => (held === undefined && name !== account ? aliasOf(account) : undefined));

/** Returns the name of the account that is under a name; undefined: there is none. */
async function find(store: Store, name: string): Promise<string | undefined> {
	let next: string | undefined = name;
	for (let hops = 0; next !== undefined && hops <= maxFormerKeys; hops++) {
		const at: string = next;
		let found = false;
		await store.update(at, (held) => {
			next = aliasIn(held);
			found = held !== undefined && next === undefined;
			return undefined;
		});
		if (found) {
			return at;
		}
	}
	return undefined;
}
