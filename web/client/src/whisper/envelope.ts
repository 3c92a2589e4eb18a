import { keccak_256 } from '@noble/hashes/sha3.js';
import { concat } from '../bytes.js';
import { malformed, tooLarge } from '../errors.js';
import * as rlp from '../rlp.js';
import { proofOfWork, type Work } from './pow.js';
import { type Topic, topicSize } from './topic.js';

/** What an envelope weighs besides its data: expiry, TTL, topic and nonce, in bytes. */
export const envelopeHeaderSize = 20;

/** The fields of an envelope that are not derived from others. */
export interface EnvelopeFields {
	/** When it may be forgotten, Unix seconds, 32 bits. */
	readonly expiry: number;
	/** How long it lives, seconds, 32 bits. */
	readonly ttl: number;
	readonly topic: Topic;
	/** The encrypted message. */
	readonly data: Uint8Array;
	/** The proof of work, 64 bits. */
	readonly nonce: bigint;
}

/**
 * The unit that nodes pass on (EIP-627, "Envelopes"): encrypted data, the topic, the time
 * it lives and the work done for it. It does not change once made.
 */
export class Envelope implements EnvelopeFields {
	readonly expiry: number;
	readonly ttl: number;
	readonly topic: Topic;
	readonly data: Uint8Array;
	readonly nonce: bigint;
	/** The RLP as received or as sealed. It must not be changed. */
	readonly raw: Uint8Array;
	#hash: Uint8Array | undefined;

	private constructor(fields: EnvelopeFields, raw: Uint8Array) {
		this.expiry = fields.expiry;
		this.ttl = fields.ttl;
		this.topic = fields.topic;
		this.data = fields.data;
		this.nonce = fields.nonce;
		this.raw = raw;
	}

	/**
	 * Reads exactly one envelope, RLP [expiry, TTL, topic, data, nonce]. It keeps `raw`,
	 * which must not be changed afterwards, and copies nothing. Throws a ProtocolError,
	 * `malformed`.
	 */
	static decode(raw: Uint8Array): Envelope {
		const whole = rlp.splitList(raw, 'envelope');
		if (whole.rest.length !== 0) {
			throw malformed(`envelope is followed by ${whole.rest.length} bytes`);
		}
		const expiry = rlp.splitString(whole.content, 'expiry');
		const ttl = rlp.splitString(expiry.rest, 'TTL');
		const topic = rlp.splitString(ttl.rest, 'topic');
		if (topic.content.length !== topicSize) {
			throw malformed(`topic of ${topic.content.length} bytes, not ${topicSize}`);
		}
		const data = rlp.splitString(topic.rest, 'data');
		const nonce = rlp.splitString(data.rest, 'nonce');
		if (nonce.rest.length !== 0) {
			throw malformed('envelope of more than five elements');
		}
		return new Envelope(
			{
				expiry: uint32(expiry.content, 'expiry'),
				ttl: uint32(ttl.content, 'TTL'),
				topic: topic.content,
				data: data.content,
				nonce: rlp.integer(nonce.content, 'nonce'),
			},
			raw,
		);
	}

	/** Makes an envelope. Throws a RangeError if a field is out of its range. */
	static encode(fields: EnvelopeFields): Envelope {
		for (const [name, value] of [['expiry', fields.expiry], ['TTL', fields.ttl]] as const) {
			if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
				throw new RangeError(`${name} ${value} does not fit 32 bits`);
			}
		}
		if (fields.topic.length !== topicSize) {
			throw new RangeError(`topic of ${fields.topic.length} bytes, not ${topicSize}`);
		}
		return new Envelope(fields, rlp.list([...worked(fields), rlp.uint(fields.nonce)]));
	}

	/** The Keccak-256 of `raw`, 32 bytes, which names the envelope everywhere. */
	get hash(): Uint8Array {
		return (this.#hash ??= keccak_256(this.raw));
	}

	/**
	 * Returns the Keccak-256 of `data`, which names the encrypted message, whatever envelope
	 * it comes in: anybody who has seen an envelope can post its message again under
	 * another expiry, lifetime, topic, nonce and so another hash.
	 */
	message(): Uint8Array {
		return keccak_256(this.data);
	}

	/** When the envelope claims to have been sent, in Unix seconds; 0 where the TTL is larger than the expiry. */
	get sent(): number {
		return Math.max(0, this.expiry - this.ttl);
	}

	/** What the envelope weighs against a maximum message size, in bytes. */
	get size(): number {
		return envelopeHeaderSize + this.data.length;
	}

	/** Returns the proof of work as a node sees it at a time, see {@link proofOfWork}. */
	pow(now: Date): number {
		return proofOfWork(workOf(this), this.nonce, Math.max(0, this.sent - Math.floor(now.getTime() / 1000)));
	}
}

/** What of an envelope has to be worked for. */
export function workOf(fields: Omit<EnvelopeFields, 'nonce'>): Work {
	return { fields: rlp.list(worked(fields)), ttl: fields.ttl };
}

const worked = (fields: Omit<EnvelopeFields, 'nonce'>): Uint8Array[] => [
	rlp.uint(fields.expiry),
	rlp.uint(fields.ttl),
	rlp.string(fields.topic),
	rlp.string(fields.data),
];

/** The most envelopes that one list is read for: what the largest answer of a mailserver has. */
export const maxEnvelopes = 2000;

/**
 * Reads a list of envelopes, the form in which mailservers answer in batches. An element
 * that is no envelope is left out and counted in `bad`. Throws a ProtocolError if the list
 * itself cannot be read (`malformed`), or has more than `most` elements (`too-large`).
 */
export function decodeEnvelopes(list: Uint8Array, most: number = maxEnvelopes): { envelopes: Envelope[]; bad: number } {
	const whole = rlp.splitList(list, 'list of envelopes');
	if (whole.rest.length !== 0) {
		throw malformed(`list of envelopes is followed by ${whole.rest.length} bytes`);
	}
	const elements = rlp.count(whole.content, 'element of a list of envelopes');
	if (elements > most) {
		throw tooLarge(`list of ${elements} envelopes, at most ${most}`);
	}
	const envelopes: Envelope[] = [];
	let bad = 0;
	for (let content = whole.content; content.length > 0; ) {
		const { rest } = rlp.split(content, 'element of a list of envelopes');
		try {
			envelopes.push(Envelope.decode(content.subarray(0, content.length - rest.length)));
		} catch {
			bad++;
		}
		content = rest;
	}
	return { envelopes, bad };
}

/** Returns the list that {@link decodeEnvelopes} reads. */
export function encodeEnvelopes(envelopes: readonly Envelope[]): Uint8Array {
	return rlp.list(envelopes.map((e) => e.raw));
}

/** Returns a copy whose bytes are its own, for an envelope that was read out of something much larger. */
export function detach(envelope: Envelope): Envelope {
	return Envelope.decode(concat(envelope.raw));
}

function uint32(content: Uint8Array, what: string): number {
	const value = rlp.integer(content, what);
	if (value > 0xffffffffn) {
		throw malformed(`${what} ${value} does not fit 32 bits`);
	}
	return Number(value);
}
