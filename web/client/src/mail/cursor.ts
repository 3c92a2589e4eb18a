import { bigEndian, concat, empty, equal, isZero, readBigEndian } from '../bytes.js';
import { malformed } from '../errors.js';

/** The length of a cursor in bytes. */
export const cursorSize = 36;

// The length of the database keys of late status-go versions, which some of its clients
// send back whole.
const longCursorSize = 40;

// Begins every cursor of ours. As the time that begins the cursors of other mailservers
// it would be in the year 2105.
const cursorMagic = 0xff777063;

/** The length of a log's identity in bytes. */
export const logIdSize = 16;

const markSize = 3;
const ascendingFlag = 1;
const completeFlag = 2;

/** Where an answer stopped, or where one is to begin. {@link zeroCursor} means the beginning. */
export interface Cursor {
	/** A receive sequence, exclusive: the answer goes on after it in ascending order and before it in descending order; 0: no bound. */
	readonly seq: bigint;
	/** Asks for the order of the log, oldest first. Otherwise the order is newest first. */
	readonly ascending: boolean;
	/** The mailserver sets it on the cursor of an ascending answer that reached the end of the log. It means nothing in a request. */
	readonly complete: boolean;
	/** If not 0, bounds the range of the request from above once more, in Unix seconds, inclusive. */
	readonly until: number;
	/** Tells the envelope at `seq` from another: the beginning of its hash, 3 bytes. Zeros: unknown. */
	readonly mark: Uint8Array;
	/** The log that `seq` is a sequence of, 16 bytes. Zeros: unknown. */
	readonly log: Uint8Array;
	/** The encoding of another mailserver, which it gets back as it was; else none. */
	readonly foreign: Uint8Array;
}

/** The cursor that says nothing. */
export const zeroCursor: Cursor = {
	seq: 0n,
	ascending: false,
	complete: false,
	until: 0,
	mark: new Uint8Array(markSize),
	log: new Uint8Array(logIdSize),
	foreign: empty,
};

/** Returns the cursor that asks for everything committed after a sequence, oldest first. */
export const since = (seq: bigint): Cursor => ({ ...zeroCursor, seq, ascending: true });

/** Returns the cursor that asks for everything committed after the place of another, oldest first, whatever order that came from. */
export const resume = (c: Cursor): Cursor => ({ ...since(c.seq), log: c.log, mark: c.mark });

/** Tells whether a cursor says nothing. */
export const isZeroCursor = (c: Cursor): boolean =>
	c.seq === 0n && !c.ascending && !c.complete && c.until === 0 && isZero(c.mark) && isZero(c.log) && c.foreign.length === 0;

/** Tells whether two cursors are the same. */
export const sameCursor = (a: Cursor, b: Cursor): boolean => equal(encodeCursor(a), encodeCursor(b));

/** Returns the encoding: 36 bytes, or none for the zero cursor. A cursor of another mailserver is returned as it was. */
export function encodeCursor(c: Cursor): Uint8Array {
	if (c.foreign.length > 0 || isZeroCursor(c)) {
		return c.foreign;
	}
	const flags = (c.ascending ? ascendingFlag : 0) | (c.complete ? completeFlag : 0);
	return concat(
		bigEndian(BigInt(cursorMagic), 4),
		Uint8Array.of(flags),
		bigEndian(c.seq, 8),
		bigEndian(BigInt(c.until), 4),
		c.log,
		c.mark,
	);
}

/**
 * Reads a cursor. No bytes, or zeros only, are the zero cursor. One of 36 or 40 bytes that
 * is not ours is of another mailserver: it begins with the time of the last envelope that
 * one sent, and is kept as it is. Throws a ProtocolError, `malformed`.
 */
export function decodeCursor(bytes: Uint8Array): Cursor {
	if (bytes.length === 0) {
		return zeroCursor;
	}
	if (bytes.length !== cursorSize && bytes.length !== longCursorSize) {
		throw malformed(`cursor of ${bytes.length} bytes, not ${cursorSize}`);
	}
	const first = Number(readBigEndian(bytes.subarray(0, 4)));
	if (first !== cursorMagic) {
		return isZero(bytes) ? zeroCursor : { ...zeroCursor, until: first, foreign: bytes.slice() };
	}
	const flags = bytes[4]!;
	if (bytes.length !== cursorSize || flags > (ascendingFlag | completeFlag)) {
		throw malformed('cursor of an unknown kind');
	}
	const seq = readBigEndian(bytes.subarray(5, 13));
	if (seq >= 1n << 63n) {
		throw malformed('cursor with a sequence beyond 63 bits');
	}
	return {
		seq,
		ascending: (flags & ascendingFlag) !== 0,
		complete: (flags & completeFlag) !== 0,
		until: Number(readBigEndian(bytes.subarray(13, 17))),
		log: bytes.slice(17, 33),
		mark: bytes.slice(33, 36),
		foreign: empty,
	};
}
