import { bigEndian, concat, equal, readBigEndian, text, utf8 } from '../bytes.js';
import { malformed } from '../errors.js';
import { type Cursor, cursorSize, decodeCursor, encodeCursor, isZeroCursor, zeroCursor } from './cursor.js';

const errorMark = utf8('ERROR=');
const hashSize = 32;
const longCursorSize = 40;
const markedSize = 2 * hashSize + cursorSize;
const proofSize = 8 + 8 + 64;

/** The longest text of a refusal that is read or written, in bytes; the rest is cut off. */
export const maxRefusalText = 256;

/**
 * The end mark of an answer:
 *
 *     id 32                                     the oldest form, read only
 *     id 32 ‖ last envelope 32 ‖ cursor 0 or 36 no cursor: there is no more
 *     … ‖ cursor 36 ‖ after 8 ‖ at 8 ‖ signature 64   with a proof, which the request asked for
 *     "ERROR=" ‖ id 32 ‖ text                   a refusal
 */
export interface Complete {
	/** Of the request. */
	readonly id: Uint8Array;
	/** Of the last envelope sent; zeros: none was. */
	readonly last: Uint8Array;
	/** Where to go on; the zero cursor: there is no more. */
	readonly cursor: Cursor;
	/** Not empty: the request was refused, or failed half-way. A word, a colon and a sentence, see {@link refusalWord}. */
	readonly refusal: string;
	/** Answers `MailRequest.prove`; undefined: there is none. */
	readonly proof?: Proof | undefined;
}

/**
 * Makes an end mark a statement that the mailserver cannot deny: what it sent is in its
 * log, behind `after` and not behind the mark's cursor. `isStatementSigned` checks it.
 */
export interface Proof {
	/** The receive sequence behind which the answer begins. */
	readonly after: bigint;
	/** When it was signed, Unix milliseconds. */
	readonly at: bigint;
	/** 64 bytes. */
	readonly signature: Uint8Array;
}

/** Returns the encoding of an end mark. */
export function encodeComplete(c: Complete): Uint8Array {
	if (c.refusal !== '') {
		return concat(errorMark, c.id, utf8(printable(utf8(c.refusal))));
	}
	const mark = concat(c.id, c.last, encodeCursor(c.cursor));
	return c.proof && mark.length === markedSize
		? concat(mark, bigEndian(c.proof.after, 8), bigEndian(c.proof.at, 8), c.proof.signature)
		: mark;
}

/** Reads an end mark. Throws a ProtocolError, `malformed`. */
export function decodeComplete(bytes: Uint8Array): Complete {
	const nothing = new Uint8Array(hashSize);
	const refused = bytes.subarray(errorMark.length);
	if (equal(bytes.subarray(0, errorMark.length), errorMark) && refused.length >= hashSize) {
		const refusal = printable(refused.subarray(hashSize)) || 'failed: no reason given';
		return { id: refused.slice(0, hashSize), last: nothing, cursor: zeroCursor, refusal };
	}
	if (bytes.length === markedSize + proofSize) {
		const p = bytes.subarray(markedSize);
		const proof = { after: readBigEndian(p.subarray(0, 8)), at: readBigEndian(p.subarray(8, 16)), signature: p.slice(16) };
		const mark = decodeComplete(bytes.subarray(0, markedSize));
		return isZeroCursor(mark.cursor) ? mark : { ...mark, proof }; // of no place it proves nothing
	}
	switch (bytes.length) {
		case hashSize:
			return { id: bytes.slice(), last: nothing, cursor: zeroCursor, refusal: '' };
		case 2 * hashSize:
		case 2 * hashSize + cursorSize:
		case 2 * hashSize + longCursorSize:
			return {
				id: bytes.slice(0, hashSize),
				last: bytes.slice(hashSize, 2 * hashSize),
				cursor: decodeCursor(bytes.subarray(2 * hashSize)),
				refusal: '',
			};
	}
	throw malformed(`end mark of ${bytes.length} bytes`);
}

// Everything is replaced that a terminal or a log could stumble over.
const printable = (bytes: Uint8Array): string => text(bytes.subarray(0, maxRefusalText)).replace(/[^ -~]/gu, '?');

const words = ['busy', 'request', 'expired', 'failed'] as const;

/** Returns the word that a refusal begins with; undefined: it is of a mailserver of another make. */
export function refusalWord(refusal: string): (typeof words)[number] | undefined {
	const [word] = refusal.split(':', 1);
	return words.find((w) => w === word);
}

/** Returns how long a busy mailserver asks to be left alone, in seconds, at most a day; 0 if it does not say. */
export function retryAfter(refusal: string): number {
	const seconds = /^busy: retry after ([0-9]{1,10})(?: |$)/.exec(refusal)?.[1];
	const value = Number(seconds ?? 0);
	return value > 0xffffffff ? 0 : Math.min(value, 24 * 3600);
}

