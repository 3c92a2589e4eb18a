// The forms of a request. Numbers are big-endian, times are Unix seconds and both ends of
// a range belong to it. [a, b] is an RLP list.
//
//	classic  lower 4 ‖ upper 4                                  8 bytes: everything in the range
//	         lower 4 ‖ upper 4 ‖ bloom 64                       72 bytes: what the bloom filter covers
//	fixed    lower 4 ‖ upper 4 ‖ bloom 64 ‖ limit 4             76 bytes
//	         lower 4 ‖ upper 4 ‖ bloom 64 ‖ limit 4 ‖ cursor 36 112 bytes
//	list     [lower, upper, bloom, limit, cursor, batch]
//	         [lower, upper, bloom, limit, cursor, batch, [topic 4, …], [hash 32, …]]
//	         [lower, upper, bloom, limit, cursor, batch, [topic 4, …], [hash 32, …], prove]
//	plain    [id 32, lower, upper, limit, cursor, bloom]        not in an envelope
import { bigEndian, concat, empty, readBigEndian } from '../bytes.js';
import { isProtocolError, malformed } from '../errors.js';
import { Reader } from '../reader.js';
import * as rlp from '../rlp.js';
import { type Bloom, bloomSize, fullBloom } from '../whisper/bloom.js';
import { type Topic, topicSize } from '../whisper/topic.js';
import { type Cursor, cursorSize, decodeCursor, encodeCursor, isZeroCursor, resume, zeroCursor } from './cursor.js';

// Limits on what a request may hold, checked before anything is made of it.
/** The longest request inside an envelope, in bytes. */
export const maxMailPayload = 8192;
/** How many topics one request may name. */
export const maxTopics = 256;
/** How many envelopes one request may name. */
export const maxMailHashes = 64;
/** How far the clocks of a client and a mailserver may be apart for a request to be answered, in seconds. */
export const maxClockSkew = 24 * 3600;

/** How a request is written; it decides how it is answered. Only `classic` is answered without an end mark. */
export type Form = 'classic' | 'fixed' | 'list' | 'plain';

/** Asks a mailserver for archived envelopes. */
export interface MailRequest {
	readonly form: Form;
	/** Names a plain request, 32 bytes; the id of others is the hash of their envelope. */
	readonly id: Uint8Array;
	/** Sent time, Unix seconds, inclusive. */
	readonly lower: number;
	/** Sent time, Unix seconds, inclusive; 0 in a list: to the end. */
	readonly upper: number;
	/** What the topics must be covered by; undefined: every topic. */
	readonly bloom: Bloom | undefined;
	/** Exactly these topics; none: see `bloom`. List only. */
	readonly topics: readonly Topic[];
	/** Exactly these envelopes, whatever else is asked. List only. */
	readonly hashes: readonly Uint8Array[];
	/** The most envelopes to send; 0: as many as the mailserver likes. */
	readonly limit: number;
	/** Where to begin. */
	readonly cursor: Cursor;
	/** Answer with lists of envelopes. List only; always so for plain. */
	readonly batch: boolean;
	/** Asks for a proof in the end mark of an answer to `everythingSince`. List only. */
	readonly prove?: true | undefined;
}

const idSize = 32;
const hashSize = 32;
const maxUint32 = 0xffffffff;

/** A request in the list form for everything there is, to be narrowed. */
export const anything: MailRequest = {
	form: 'list',
	id: new Uint8Array(idSize),
	lower: 0,
	upper: maxUint32,
	bloom: undefined,
	topics: [],
	hashes: [],
	limit: 0,
	cursor: zeroCursor,
	batch: true,
};

/**
 * Returns the request for everything that a mailserver of ours committed after a cursor,
 * oldest first, whatever time it claims to be from. On another mailserver, or on one whose
 * archive was begun anew, it means everything there is.
 */
export const everythingSince = (cursor: Cursor, topics: readonly Topic[] = []): MailRequest => ({
	...anything,
	topics,
	cursor: resume(cursor),
});

/** Returns the request for exactly these envelopes. */
export const exactly = (hashes: readonly Uint8Array[]): MailRequest => ({ ...anything, hashes });

// Lengths of the fixed forms, in bytes.
const rangeEnd = 8;
const bloomEnd = rangeEnd + bloomSize;
const limitEnd = bloomEnd + 4;
const cursorEnd = limitEnd + cursorSize;

/** Reads the payload of the message in a request, of every form but plain. Throws a ProtocolError, `malformed`. */
export function decodeMailRequest(payload: Uint8Array): MailRequest {
	checkLength(payload);
	return isList(payload) ? decodeList(payload) : decodeFixed(payload);
}

/** Reads a plain request. Throws a ProtocolError, `malformed`. */
export function decodePlainRequest(packet: Uint8Array): MailRequest {
	checkLength(packet);
	return allMalformed(() => {
		const r = Reader.open(packet, 'request', false);
		const request: MailRequest = {
			...anything,
			form: 'plain',
			id: r.fixed('id', idSize),
			lower: r.small('from', maxUint32),
			upper: r.small('to', maxUint32),
			limit: r.small('limit', maxUint32),
			cursor: decodeCursor(r.bytes('cursor', maxMailPayload)),
			bloom: readBloom(r),
		};
		if (r.more) {
			throw malformed('plain request of more than six elements');
		}
		return request;
	});
}

/**
 * Returns the payload of a message that carries the request, or, for a plain one, the
 * packet itself. Throws a RangeError if the form has no room for a field that is set, or
 * if a limit is exceeded.
 */
export function encodeMailRequest(r: MailRequest): Uint8Array {
	if (r.form !== 'list' && (r.topics.length > 0 || r.hashes.length > 0)) {
		throw new RangeError(`a ${r.form} request cannot name topics or hashes, use a list`);
	}
	if (r.form !== 'list' && r.prove) {
		throw new RangeError(`a ${r.form} request cannot ask for a proof, use a list`);
	}
	if ((r.form === 'classic' || r.form === 'fixed') && r.batch) {
		throw new RangeError(`a ${r.form} request cannot ask for a batch, use a list`);
	}
	checkRange('lower bound', r.lower);
	checkRange('upper bound', r.upper);
	checkRange('limit', r.limit);
	switch (r.form) {
		case 'classic':
			if (r.limit !== 0 || !isZeroCursor(r.cursor)) {
				throw new RangeError('a classic request has no limit and no cursor, use a list');
			}
			return concat(uint32(r.lower), uint32(r.upper), r.bloom ?? empty);
		case 'fixed':
			return concat(uint32(r.lower), uint32(r.upper), r.bloom ?? fullBloom(), uint32(r.limit), encodeCursor(r.cursor));
		case 'list':
			return encodeList(r);
		case 'plain':
			return rlp.list([
				rlp.string(r.id),
				rlp.uint(r.lower),
				rlp.uint(r.upper),
				rlp.uint(r.limit),
				rlp.string(encodeCursor(r.cursor)),
				rlp.string(r.bloom ?? empty),
			]);
	}
}

const uint32 = (value: number): Uint8Array => bigEndian(BigInt(value), 4);

function checkRange(what: string, value: number): void {
	if (!Number.isInteger(value) || value < 0 || value > maxUint32) {
		throw new RangeError(`${what} ${value} does not fit 32 bits`);
	}
}

function encodeList(r: MailRequest): Uint8Array {
	if (r.topics.length > maxTopics) {
		throw new RangeError(`request for ${r.topics.length} topics, at most ${maxTopics}`);
	}
	if (r.hashes.length > maxMailHashes) {
		throw new RangeError(`request for ${r.hashes.length} hashes, at most ${maxMailHashes}`);
	}
	const tail = r.hashes.length > 0 || r.prove ? [r.topics, r.hashes] : r.topics.length > 0 ? [r.topics] : [];
	return rlp.list([
		rlp.uint(r.lower),
		rlp.uint(r.upper),
		rlp.string(r.bloom ?? empty),
		rlp.uint(r.limit),
		rlp.string(encodeCursor(r.cursor)),
		rlp.uint(r.batch ? 1 : 0),
		...tail.map((strings) => rlp.list(strings.map(rlp.string))),
		...(r.prove ? [rlp.uint(1)] : []),
	]);
}

function checkLength(bytes: Uint8Array): void {
	if (bytes.length > maxMailPayload) {
		throw malformed(`request of ${bytes.length} bytes, at most ${maxMailPayload}`);
	}
}

// A payload is taken for a list if it is one, and for a fixed form otherwise; a fixed form
// would need a lower bound beyond the year 2072 to be mistaken.
function isList(bytes: Uint8Array): boolean {
	try {
		return rlp.splitList(bytes, 'request').rest.length === 0;
	} catch {
		return false;
	}
}

// Bytes that follow a fixed form without reaching the length of the next one are ignored,
// as go-ethereum does.
function decodeFixed(b: Uint8Array): MailRequest {
	if (b.length < rangeEnd || (b.length > rangeEnd && b.length < bloomEnd)) {
		throw malformed(`request of ${b.length} bytes`);
	}
	const number = (at: number): number => Number(readBigEndian(b.subarray(at, at + 4)));
	return {
		...anything,
		form: b.length >= limitEnd ? 'fixed' : 'classic',
		lower: number(0),
		upper: number(4),
		bloom: b.length >= bloomEnd ? b.slice(rangeEnd, bloomEnd) : undefined,
		limit: b.length >= limitEnd ? number(bloomEnd) : 0,
		cursor: b.length >= cursorEnd ? decodeCursor(b.subarray(limitEnd, cursorEnd)) : zeroCursor,
		batch: false,
	};
}

function decodeList(b: Uint8Array): MailRequest {
	return allMalformed(() => {
		const r = Reader.open(b, 'request', false);
		return {
			...anything,
			lower: r.small('lower', maxUint32),
			upper: r.small('upper', maxUint32),
			bloom: readBloom(r),
			limit: r.small('limit', maxUint32),
			cursor: decodeCursor(r.bytes('cursor', maxMailPayload)),
			batch: r.bool('batch'),
			topics: r.more ? r.items('topics', maxTopics, (list) => list.fixed('topic', topicSize)) : [],
			hashes: r.more ? r.items('hashes', maxMailHashes, (list) => list.fixed('hash', hashSize)) : [],
			...(r.more && r.bool('prove') ? { prove: true as const } : {}),
		};
	});
}

function readBloom(r: Reader): Bloom | undefined {
	const bloom = r.maybe('bloom', bloomSize);
	return bloom.length > 0 ? bloom : undefined;
}

// This protocol knows one kind of wrong: a list that is too long is no request.
function allMalformed<T>(read: () => T): T {
	try {
		return read();
	} catch (error) {
		throw isProtocolError(error, 'too-large') ? malformed(error.message) : error;
	}
}
