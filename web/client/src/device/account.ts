import { equal } from '../bytes.js';
import { type Clock } from './clock.js';
import { DeviceError } from './errors.js';
import { Inbox, newState, readState, type State } from './state.js';
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

	/** Reads the account, or begins it. It is written at once, so that two tabs that open a new device have the same keys. */
	static async open(store: Store, name: string, clock: Clock): Promise<Account> {
		let state: State | undefined;
		await store.update(name, (held) => {
			state = held === undefined ? newState(clock.now()) : readState(held);
			return held === undefined ? state : undefined;
		});
		return new Account(store, name, state!);
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
