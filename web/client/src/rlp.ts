// RLP, as much of it as the protocols need: strings, lists and integers of at most 64
// bits, in the canonical form only. Readers return parts of what they read and allocate
// nothing by a length that a stranger claims.
import { bigEndian, concat, readBigEndian } from './bytes.js';
import { malformed } from './errors.js';

/** One item at the beginning of some bytes. */
export interface Item {
	readonly list: boolean;
	readonly content: Uint8Array;
	/** What follows the item. */
	readonly rest: Uint8Array;
}

/** Splits the first item off. Throws a ProtocolError unless it is whole and canonical. */
export function split(bytes: Uint8Array, what: string): Item {
	const head = bytes[0];
	if (head === undefined) {
		throw malformed(`${what}: nothing is there`);
	}
	if (head < 0x80) {
		return { list: false, content: bytes.subarray(0, 1), rest: bytes.subarray(1) };
	}
	const list = head >= 0xc0;
	const short = list ? head - 0xc0 : head - 0x80;
	let begin = 1;
	let size = short;
	if (short > 55) {
		const digits = short - 55;
		begin = 1 + digits;
		if (bytes.length < begin) {
			throw malformed(`${what}: its length is cut off`);
		}
		if (bytes[1] === 0) {
			throw malformed(`${what}: its length has leading zeros`);
		}
		// Eight digits may be more than a number holds exactly; they are still much more
		// than there are bytes.
		size = 0;
		for (let i = 1; i < begin; i++) {
			size = size * 256 + bytes[i]!;
		}
		if (size < 56) {
			throw malformed(`${what}: its length is written too long`);
		}
	}
	if (size > bytes.length - begin) {
		throw malformed(`${what}: ${size} bytes are claimed, ${bytes.length - begin} are there`);
	}
	if (!list && size === 1 && short === 1 && bytes[1]! < 0x80) {
		throw malformed(`${what}: a small byte is written too long`);
	}
	return { list, content: bytes.subarray(begin, begin + size), rest: bytes.subarray(begin + size) };
}

/** Splits off an item that must be a string. */
export function splitString(bytes: Uint8Array, what: string): Item {
	const item = split(bytes, what);
	if (item.list) {
		throw malformed(`${what} is a list`);
	}
	return item;
}

/** Splits off an item that must be a list. */
export function splitList(bytes: Uint8Array, what: string): Item {
	const item = split(bytes, what);
	if (!item.list) {
		throw malformed(`${what} is no list`);
	}
	return item;
}

/** Reads the content of a string as an integer of at most 64 bits, without leading zeros. */
export function integer(content: Uint8Array, what: string): bigint {
	if (content.length > 8) {
		throw malformed(`${what} has more than 64 bits`);
	}
	if (content[0] === 0) {
		throw malformed(`${what} has leading zeros`);
	}
	return readBigEndian(content);
}

/** Counts the items of a list's content. Throws if they are not whole. */
export function count(content: Uint8Array, what: string): number {
	let items = 0;
	for (; content.length > 0; items++) {
		content = split(content, what).rest;
	}
	return items;
}

function head(offset: number, size: number): Uint8Array {
	if (size < 56) {
		return Uint8Array.of(offset + size);
	}
	const digits: number[] = [];
	for (let n = size; n > 0; n = Math.floor(n / 256)) {
		digits.unshift(n % 256);
	}
	return Uint8Array.of(offset + 55 + digits.length, ...digits);
}

/** Encodes a string. */
export function string(bytes: Uint8Array): Uint8Array {
	return bytes.length === 1 && bytes[0]! < 0x80 ? bytes : concat(head(0x80, bytes.length), bytes);
}

/** Encodes an integer. Throws a RangeError unless it has 64 bits at most. */
export function uint(value: bigint | number): Uint8Array {
	const n = BigInt(value);
	if (n < 0n || n >= 1n << 64n) {
		throw new RangeError(`${n} is not an unsigned integer of 64 bits`);
	}
	let size = 0;
	for (let rest = n; rest > 0n; rest >>= 8n) {
		size++;
	}
	return string(bigEndian(n, size));
}

/** Encodes a list of items that are encoded already. */
export function list(items: readonly Uint8Array[]): Uint8Array {
	const size = items.reduce((sum, item) => sum + item.length, 0);
	return concat(head(0xc0, size), ...items);
}
