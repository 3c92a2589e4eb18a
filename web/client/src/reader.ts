import { empty } from './bytes.js';
import { malformed, tooLarge } from './errors.js';
import * as rlp from './rlp.js';

/**
 * Takes the elements of an RLP list one by one; elements beyond those taken are ignored,
 * so that a message can grow. What it returns is part of what it reads. Every method
 * throws a ProtocolError for what does not fit.
 */
export class Reader {
	#rest: Uint8Array;
	readonly #lenient: boolean;

	/**
	 * @param content the content of a list
	 * @param lenient an element that is not there reads as zero, no bytes or no elements;
	 * otherwise it is malformed
	 */
	constructor(content: Uint8Array, lenient: boolean) {
		this.#rest = content;
		this.#lenient = lenient;
	}

	/** Opens the one list that some bytes consist of. */
	static open(bytes: Uint8Array, what: string, lenient: boolean): Reader {
		const { content, rest } = rlp.splitList(bytes, what);
		if (rest.length !== 0) {
			throw malformed(`${what} is followed by ${rest.length} bytes`);
		}
		return new Reader(content, lenient);
	}

	/** Whether there are elements left. */
	get more(): boolean {
		return this.#rest.length > 0;
	}

	get #missing(): boolean {
		return this.#lenient && this.#rest.length === 0;
	}

	/** Takes a string of at most so many bytes. */
	bytes(what: string, most: number): Uint8Array {
		if (this.#missing) {
			return empty;
		}
		const { content, rest } = rlp.splitString(this.#rest, what);
		if (content.length > most) {
			throw tooLarge(`${what} of ${content.length} bytes, at most ${most}`);
		}
		this.#rest = rest;
		return content;
	}

	/** Takes a string of exactly so many bytes. */
	fixed(what: string, size: number): Uint8Array {
		const bytes = this.bytes(what, Infinity);
		if (bytes.length !== size) {
			throw malformed(`${what} of ${bytes.length} bytes, not ${size}`);
		}
		return bytes;
	}

	/** Takes a string that is empty or of exactly so many bytes. */
	maybe(what: string, size: number): Uint8Array {
		const bytes = this.bytes(what, Infinity);
		if (bytes.length !== 0 && bytes.length !== size) {
			throw malformed(`${what} of ${bytes.length} bytes, not ${size}`);
		}
		return bytes;
	}

	/** Takes an integer of at most 64 bits. */
	uint(what: string): bigint {
		if (this.#missing) {
			return 0n;
		}
		const { content, rest } = rlp.splitString(this.#rest, what);
		const value = rlp.integer(content, what);
		this.#rest = rest;
		return value;
	}

	/** Takes an integer of at most `most`, which a number holds exactly. */
	small(what: string, most: number): number {
		const value = this.uint(what);
		if (value > BigInt(most)) {
			throw malformed(`${what} is ${value}, at most ${most}`);
		}
		return Number(value);
	}

	bool(what: string): boolean {
		return this.small(what, 1) === 1;
	}

	/** Takes a list, whose elements the reader that it returns takes. */
	list(what: string): Reader {
		if (this.#missing) {
			return new Reader(empty, true);
		}
		const { content, rest } = rlp.splitList(this.#rest, what);
		this.#rest = rest;
		return new Reader(content, this.#lenient);
	}

	/** Takes a list of at most `most` elements, each of which `each` takes. They are counted first. */
	items<T>(what: string, most: number, each: (reader: Reader) => T): T[] {
		const inner = this.list(what);
		const count = rlp.count(inner.#rest, what);
		if (count > most) {
			throw tooLarge(`${count} ${what}, at most ${most}`);
		}
		const all: T[] = [];
		while (inner.more) {
			all.push(each(inner));
		}
		return all;
	}
}
