import { keccak_256 } from '@noble/hashes/sha3.js';
import { tooLarge } from '../errors.js';
import { eciesEncrypt } from './ecies.js';
import { Envelope, envelopeHeaderSize, workOf } from './envelope.js';
import { type PublicKey, type SymmetricKey } from './keys.js';
import { type Content, layOut, sealSymmetric } from './message.js';
import { mineHere, type Miner } from './miner.js';
import { type Topic } from './topic.js';

/** How long an envelope lives that says nothing else, in seconds. */
export const defaultTtl = 50;

/** A message that is to be put into an envelope. Exactly one of `key` and `to` is given. */
export interface Draft extends Content {
	readonly topic: Topic;
	/** The members' symmetric key. */
	readonly key?: SymmetricKey | undefined;
	/** The receiver of an asymmetric message. */
	readonly to?: PublicKey | undefined;
	/** How long the envelope lives, in seconds; undefined: {@link defaultTtl}. */
	readonly ttl?: number | undefined;
	/** The least proof of work; undefined or 0: none is done. */
	readonly pow?: number | undefined;
	/** The largest envelope that is worked for, in bytes ({@link Envelope.size}); undefined: any. */
	readonly maxSize?: number | undefined;
	/** When it is sent; undefined: now. */
	readonly now?: Date | undefined;
}

/** How {@link seal} works. */
export interface SealOptions {
	/** Who does the proof of work; undefined: the thread that asks, a few milliseconds at a time. */
	readonly miner?: Miner | undefined;
	/** Ends the proof of work. */
	readonly signal?: AbortSignal | undefined;
}

/** A message that is encrypted and has no envelope yet. Whatever envelopes it comes in, it is one message. */
export interface Sealed {
	readonly topic: Topic;
	/** The encrypted message. */
	readonly data: Uint8Array;
}

/** Names an encrypted message, whatever envelopes it comes in, as {@link Envelope.message} does. */
export const sealedName = ({ data }: Sealed): Uint8Array => keccak_256(data);

/** What an envelope is made with; see {@link Draft}. */
export type EnvelopeDraft = Pick<Draft, 'ttl' | 'pow' | 'maxSize' | 'now'>;

/** Signs, pads and encrypts a draft. */
export async function encrypt(draft: Draft): Promise<Sealed> {
	if ((draft.key === undefined) === (draft.to === undefined)) {
		throw new TypeError("a message needs a symmetric key or a receiver's public key, and not both");
	}
	const plain = layOut(draft);
	const data = draft.to ? eciesEncrypt(draft.to, plain) : await sealSymmetric(draft.key!, plain);
	return { topic: draft.topic, data };
}

/**
 * Signs, pads and encrypts a draft, and works until its envelope has the proof of work
 * asked for. Rejects with a ProtocolError: `too-large` beyond `maxSize`, before any work,
 * and `work` when the signal ends it first.
 */
export const seal = async (draft: Draft, options: SealOptions = {}): Promise<Envelope> => envelop(await encrypt(draft), draft, options);

/** Puts an encrypted message into an envelope, as {@link seal} does: also once more, for one that may have been lost. */
export async function envelop({ topic, data }: Sealed, draft: EnvelopeDraft, options: SealOptions = {}): Promise<Envelope> {
	const size = envelopeHeaderSize + data.length;
	if (draft.maxSize && size > draft.maxSize) {
		throw tooLarge(`envelope of ${size} bytes, at most ${draft.maxSize}`);
	}
	const ttl = draft.ttl ?? defaultTtl;
	const now = Math.floor((draft.now?.getTime() ?? Date.now()) / 1000);
	const fields = { expiry: now + ttl, ttl, topic, data };
	// The fields are checked before they are worked for.
	const { nonce: none } = Envelope.encode({ ...fields, nonce: 0n });
	const nonce = draft.pow ? await (options.miner ?? mineHere)(workOf(fields), draft.pow, options.signal) : none;
	return Envelope.encode({ ...fields, nonce });
}
