import { keccak_256 } from '@noble/hashes/sha3.js';
import { bigEndian } from '../bytes.js';
import { ProtocolError } from '../errors.js';

/** What is worked for. */
export interface Work {
	/** RLP [expiry, TTL, topic, data] of an envelope, its list head included. */
	readonly fields: Uint8Array;
	/** The envelope's TTL in seconds. */
	readonly ttl: number;
}

/**
 * Returns the proof of work of a nonce (EIP-627, "PoW Requirement"):
 *
 *     2^(leading zero bits of Keccak-256(fields ‖ nonce as 8 bytes)) / (length of fields × life)
 *
 * where life is the TTL, at least 1, and for an envelope from the future besides that
 * many seconds plus one.
 */
export function proofOfWork(work: Work, nonce: bigint, secondsAhead = 0): number {
	const hash = keccak_256.create().update(work.fields).update(bigEndian(nonce, 8)).digest();
	const life = work.ttl + (secondsAhead > 0 ? secondsAhead + 1 : 0);
	return worth(leadingZeros(hash), work.fields.length, life);
}

const worth = (zeros: number, size: number, life: number): number => 2 ** zeros / (size * Math.max(life, 1));

function leadingZeros(hash: Uint8Array): number {
	let zeros = 0;
	for (const byte of hash) {
		if (byte !== 0) {
			return zeros + Math.clz32(byte) - 24;
		}
		zeros += 8;
	}
	return zeros;
}

/** How {@link mine} goes about it. */
export interface MineOptions {
	/** Ends the search; {@link mine} then rejects with a ProtocolError, `work`. */
	readonly signal?: AbortSignal | undefined;
	/**
	 * How long the thread is kept in one go, in milliseconds. The default, 10, lets a page
	 * draw and answer in between; a worker may take more.
	 */
	readonly slice?: number;
}

/** How many nonces are tried between two looks at the clock: less than a millisecond. */
const triesBetweenLooks = 128;

/**
 * Finds the smallest nonce that gives the work at least a proof of work of `target`; 0
 * for a target of 0 or less. The search gives the thread free every few milliseconds, so
 * it may run on a page's own thread; {@link workerMiner} moves it to a worker.
 *
 * Rejects with a ProtocolError, `work`, when the signal ends it, or at once if no hash at
 * all would be worth so much.
 */
export async function mine(work: Work, target: number, options: MineOptions = {}): Promise<bigint> {
	if (target <= 0) {
		return 0n;
	}
	const { signal, slice = 10 } = options;
	let needed = 0;
	while (!(worth(needed, work.fields.length, work.ttl) >= target)) {
		if (++needed > 256) {
			throw new ProtocolError('work', `no nonce is worth a proof of work of ${target}`);
		}
	}
	// All tries begin with the same bytes, so those are absorbed once: a try costs the
	// last block of the sponge, not all of the envelope.
	const absorbed = keccak_256.create().update(work.fields);
	const attempt = absorbed.clone();
	const hash = new Uint8Array(32);
	const nonce = new Uint8Array(8);
	const view = new DataView(nonce.buffer);
	let until = performance.now() + slice;
	// A nonce of 2^53 is years away.
	for (let n = 0; ; n++) {
		if (n % triesBetweenLooks === 0) {
			if (signal?.aborted) {
				throw new ProtocolError('work', `a proof of work of ${target} was not reached in ${n} tries`, { cause: signal.reason });
			}
			if (performance.now() >= until) {
				await new Promise((resolve) => setTimeout(resolve));
				until = performance.now() + slice;
			}
		}
		view.setUint32(0, Math.floor(n / 2 ** 32));
		view.setUint32(4, n);
		absorbed._cloneInto(attempt);
		attempt.update(nonce).digestInto(hash);
		if (leadingZeros(hash) >= needed) {
			return BigInt(n);
		}
	}
}
