import { equal, hex } from '../bytes.js';
import { encodeCursor, zeroCursor } from '../mail/cursor.js';
import { newSealKey } from '../push/hpke.js';
import { pushKeySize } from '../push/limits.js';
import { newPrivateKey } from '../whisper/keys.js';
import { DeviceError } from './errors.js';
import { type Evidence } from './evidence.js';
import { isSound, type LedgerState } from './ledger.js';

/**
 * How many messages wait at most for the app to say that it has them. It is more than a
 * server keeps waiting for one device, and bounds what one history returns.
 */
export const maxWaiting = 1024;

/** How many dismissals are kept that the server is still to be told of. Of older ones it may tell again, which does no harm. */
export const maxDismissed = 128;

/** How many shown messages are remembered, to tell what comes again, in whatever envelope, from what is new. */
export const maxShown = 1 << 14;

/** How many push keys that led to the present one are kept. */
export const maxFormerKeys = 8;

/** What of a message, or of an envelope, is remembered: the beginning of its Keccak-256, in bytes. */
const markSize = 8;

/** The number of the form of the state. */
const format = 1;

/** An envelope that the device was told of, and of which the app has not said yet that it has it. */
export interface Waiting {
	readonly hash: Uint8Array;
	/** The mark of its message; undefined: not fetched yet. */
	readonly message?: Uint8Array;
}

/** What a device keeps between runs for one mailserver. */
export interface State {
	readonly format: typeof format;
	/** secp256k1, private: it is the account, and is never used with another server. */
	readonly registrationKey: Uint8Array;
	/** X25519, private. */
	readonly sealKey: Uint8Array;

	/** The server's push key, if it is another than the account is named by. */
	pushKey?: Uint8Array;
	/** Those that led to it by the word of both, oldest first, at most {@link maxFormerKeys}; missing: there are none. */
	formerKeys?: Uint8Array[];

	/** Of the newest change asked for. */
	version: bigint;
	/** The server confirmed the registration. */
	active: boolean;
	/** Wake-ups come in the plain form. */
	plain: boolean;
	/** The form that a Register asked for whose reply never came: until there is one, wake-ups may come in either. */
	asked: 'sealed' | 'plain' | undefined;

	/** In which `seq` counts, as the server names it; 0: not known. */
	epoch: bigint;
	/** Of the newest wake-up opened. */
	seq: bigint;
	/** The first start by the device's own clock, Unix seconds; earlier where the device follows one at another server. */
	since: number;
	/** The same by the server's clock; 0: not known yet. */
	begin: number;
	/** Where the history was read to, encoded. */
	cursor: Uint8Array;
	/** Something may be beyond the cursor that no wake-up will name. */
	behind: boolean;

	/** Marks of messages that were shown and of envelopes that were read elsewhere, oldest first, one after the other. */
	known: Uint8Array;
	/** What the app has not said that it has, oldest first, at most {@link maxWaiting}. */
	waiting: Waiting[];
	/** Hashes of dismissals that came, which the server is still to be told, oldest first, at most {@link maxDismissed}; missing: there are none. */
	dismissed?: Uint8Array[];
	/** The registration is in a group, so that the server may owe the device dismissals. */
	grouped?: boolean;
	/** Marks of envelopes that were read elsewhere, of a device that gives them all the same, as `known`; missing: there are none. */
	elsewhere?: Uint8Array;
	/** What the server has signed of what it owes the device; missing: nothing. */
	ledger?: LedgerState;
	/** The newest that convicts the server; missing: there is none. */
	evidence?: Evidence;
	/** Envelopes that could have convicted it, and whose ledger ended before. */
	unproved?: number;
	/** The latest answer by the device's own clock, Unix seconds; missing: there was none. */
	heard?: number;
}

/** Stands under the name of a push key that an account went on with, and tells under which one it is. */
export interface Alias {
	readonly format: typeof format;
	readonly alias: string;
}

/** Makes an alias. */
export const aliasOf = (name: string): Alias => ({ format, alias: name });

/** Returns the name that an alias tells; undefined: it is none. */
export const aliasIn = (held: unknown): string | undefined => {
	const { alias } = (held ?? {}) as Partial<Alias>;
	return typeof alias === 'string' ? alias : undefined;
};

/** Makes the keys of a new device. */
export const newState = (now: number): State => ({
	format,
	registrationKey: newPrivateKey(),
	sealKey: newSealKey().private,
	version: 0n,
	active: false,
	plain: false,
	asked: undefined,
	epoch: 0n,
	seq: 0n,
	since: Math.floor(now / 1000),
	begin: 0,
	cursor: encodeCursor(zeroCursor),
	behind: false,
	known: new Uint8Array(0),
	waiting: [],
});

/** Takes what a store held for a state. Throws a DeviceError, `damaged`, if it is none. */
export function readState(held: unknown): State {
	const state = held as Partial<State> | null;
	if (typeof state !== 'object' || state === null || typeof state.format !== 'number') {
		throw new DeviceError('damaged', 'the state in the store is not that of a device; remove it to start anew');
	}
	if (state.format > format) {
		throw new DeviceError('damaged', `the state in the store is of a later version, format ${state.format} (> ${format})`);
	}
	const whole =
		state.registrationKey?.length === 32 &&
		state.sealKey?.length === 32 &&
		typeof state.version === 'bigint' &&
		typeof state.seq === 'bigint' &&
		state.cursor instanceof Uint8Array &&
		state.known instanceof Uint8Array &&
		state.known.length % markSize === 0 &&
		Array.isArray(state.waiting) &&
		(state.pushKey === undefined || state.pushKey.length === pushKeySize) &&
		(state.formerKeys === undefined || Array.isArray(state.formerKeys)) &&
		(state.elsewhere === undefined || (state.elsewhere instanceof Uint8Array && state.elsewhere.length % markSize === 0)) &&
		(state.ledger === undefined || isSound(state.ledger)) &&
		(state.heard === undefined || typeof state.heard === 'number') &&
		(state.dismissed === undefined || Array.isArray(state.dismissed));
	if (!whole) {
		throw new DeviceError('damaged', 'the state in the store is damaged; remove it to start anew');
	}
	return state as State;
}

const maxBigInt = (a: bigint, b: bigint): bigint => (a > b ? a : b);

/** Takes a version greater than every one before, also than those of a state that was lost: the time in milliseconds. */
export function nextVersion(s: State, now: number): bigint {
	return (s.version = maxBigInt(s.version + 1n, BigInt(Math.floor(now))));
}

/** Raises a number, never lowers it. */
export function raise(s: State, field: 'version' | 'seq', value: bigint): void {
	s[field] = maxBigInt(s[field], value);
}

/**
 * What a state remembers of messages, with an index of its marks: made for one change of
 * the state, and written back by it. A mark is eight bytes: that two messages have the
 * same by chance takes billions of them; to make one that has a given mark takes 2^64
 * attempts.
 */
export class Inbox {
	readonly #state: State;
	readonly #marks: Set<bigint>;
	readonly #elsewhere: Set<bigint>;

	constructor(state: State) {
		this.#state = state;
		this.#marks = marksIn(state.known);
		this.#elsewhere = marksIn(state.elsewhere ?? new Uint8Array(0));
	}

	/** Writes what changed back to the state. It is called last. */
	close(): void {
		this.#state.known = bytesOf(this.#marks);
		if (this.#elsewhere.size > 0) {
			this.#state.elsewhere = bytesOf(this.#elsewhere);
		}
	}

	get waiting(): readonly Waiting[] {
		return this.#state.waiting;
	}

	find(hash: Uint8Array): Waiting | undefined {
		return this.#state.waiting.find((w) => equal(w.hash, hash));
	}

	drop(hash: Uint8Array): void {
		this.#state.waiting = this.#state.waiting.filter((w) => !equal(w.hash, hash));
	}

	#knows(mark: Uint8Array): boolean {
		return this.#marks.has(number(mark));
	}

	/**
	 * Remembers envelopes that the device is about to ask for, before the server may take
	 * them for delivered. `given` are those that the app was handed in this run; where there
	 * is no room the oldest of them give way, as an app that was handed a thousand others
	 * since has them. Returns those that do not fit.
	 */
	await(hashes: readonly Uint8Array[], given: Set<string>): Uint8Array[] {
		const left: Uint8Array[] = [];
		for (const hash of hashes) {
			if (this.#knows(hash) || this.find(hash)) {
				continue;
			}
			if (this.fits(1, given)) {
				this.#state.waiting.push({ hash });
			} else {
				left.push(hash);
			}
		}
		return left;
	}

	/** Makes room for so many more that wait, and tells whether there is. */
	fits(n: number, given: Set<string>): boolean {
		while (this.#state.waiting.length + n > maxWaiting) {
			const oldest = this.#state.waiting.find((w) => given.has(hex(w.hash)));
			if (!oldest) {
				return false;
			}
			this.shown(oldest.hash);
			given.delete(hex(oldest.hash));
		}
		return true;
	}

	/**
	 * Takes note of an envelope that can be opened. Returns the hash under which its message
	 * is to be shown, which is that of the first envelope it came in; undefined if it was
	 * shown, or read elsewhere. There must be room if the envelope does not wait.
	 */
	arrived(envelope: Uint8Array, message: Uint8Array): Uint8Array | undefined {
		const mark = message.slice(0, markSize);
		if (this.#knows(mark) || this.#knows(envelope)) {
			this.#marks.add(number(mark)); // also if it comes in another envelope
			this.drop(envelope);
			return undefined;
		}
		const first = this.#state.waiting.find((w) => w.message && equal(w.message, mark));
		if (first) {
			if (!equal(first.hash, envelope)) {
				this.drop(envelope);
			}
			return first.hash;
		}
		const at = this.#state.waiting.findIndex((w) => equal(w.hash, envelope));
		if (at >= 0) {
			this.#state.waiting[at] = { hash: envelope, message: mark };
		} else {
			this.#state.waiting.push({ hash: envelope, message: mark });
		}
		return envelope;
	}

	/** Remembers what another device's marks say. */
	add(known: Uint8Array, elsewhere: Uint8Array = new Uint8Array(0)): void {
		marksIn(known).forEach((mark) => this.#marks.add(mark));
		marksIn(elsewhere).forEach((mark) => this.#elsewhere.add(mark));
	}

	/** Whether an envelope was read elsewhere, of a device that gives it all the same. */
	wasRead(hash: Uint8Array): boolean {
		return this.#elsewhere.has(number(hash));
	}

	/** Remembers that an envelope was read elsewhere, and is given all the same. */
	readElsewhere(hash: Uint8Array): void {
		this.#elsewhere.add(number(hash));
	}

	/** Remembers that the app has a message, or that it was read elsewhere. */
	shown(hash: Uint8Array): void {
		this.#marks.add(number(this.find(hash)?.message ?? hash));
		this.drop(hash);
	}
}

function marksIn(bytes: Uint8Array): Set<bigint> {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const marks = new Set<bigint>();
	for (let at = 0; at < bytes.length; at += markSize) {
		marks.add(view.getBigUint64(at));
	}
	return marks;
}

function bytesOf(all: ReadonlySet<bigint>): Uint8Array {
	// A set keeps the order in which its elements came.
	const marks = [...all].slice(Math.max(0, all.size - maxShown));
	const view = new DataView(new ArrayBuffer(marks.length * markSize));
	marks.forEach((mark, i) => view.setBigUint64(i * markSize, mark));
	return new Uint8Array(view.buffer);
}

function number(mark: Uint8Array): bigint {
	return new DataView(mark.buffer, mark.byteOffset, markSize).getBigUint64(0);
}
