import { concat, empty } from '../bytes.js';
import { tooLarge } from '../errors.js';

/** A frame of an answer over HTTPS, as it is on the wire. */
export interface RawFrame {
	readonly kind: number;
	readonly bytes: Uint8Array;
}

const headSize = 5;

/**
 * Cuts what comes of an answer into frames: a byte, a length of four bytes and what it
 * says. It keeps no more than the frame that is not complete yet, and of one that is too
 * long nothing.
 */
export class FrameSplitter {
	readonly #most: number;
	#parts: Uint8Array[] = [];
	#size = 0;
	#wanted = headSize; // bytes until there is something to look at
	#kind: number | undefined; // of the frame whose head was read

	/** @param most the longest frame, in bytes */
	constructor(most: number) {
		this.#most = most;
	}

	/** Whether the bytes so far end with a whole frame. */
	get whole(): boolean {
		return this.#size === 0 && this.#kind === undefined;
	}

	/** Takes the next bytes, and returns the frames that are complete now. Throws a ProtocolError, `too-large`. */
	push(chunk: Uint8Array): RawFrame[] {
		const frames: RawFrame[] = [];
		let rest = chunk;
		while (rest.length > 0) {
			const taken = rest.subarray(0, this.#wanted - this.#size);
			this.#parts.push(taken);
			this.#size += taken.length;
			rest = rest.subarray(taken.length);
			if (this.#size < this.#wanted) {
				break;
			}
			this.#complete(frames);
		}
		return frames;
	}

	#complete(frames: RawFrame[]): void {
		const bytes = this.#parts.length === 0 ? empty : concat(...this.#parts);
		[this.#parts, this.#size] = [[], 0];
		if (this.#kind !== undefined) {
			frames.push({ kind: this.#kind, bytes });
			[this.#kind, this.#wanted] = [undefined, headSize];
			return;
		}
		const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
		if (length > this.#most) {
			throw tooLarge(`frame of ${length} bytes, at most ${this.#most}`);
		}
		[this.#kind, this.#wanted] = [bytes[0]!, length];
		if (length === 0) {
			this.#complete(frames);
		}
	}
}
