import { type Topic } from './topic.js';

/** The length of a bloom filter in bytes (EIP-627, "Bloom Filter"). */
export const bloomSize = 64;

/** Tells which topics somebody wants without naming them: 64 bytes, up to three bits for each topic. */
export type Bloom = Uint8Array;

/** Returns the filter that covers every topic. */
export const fullBloom = (): Bloom => new Uint8Array(bloomSize).fill(0xff);

/**
 * Returns the filter of one topic. Bit number j, of three, is `topic[j]`, plus 256 if bit
 * j of `topic[3]` is set.
 *
 * Nodes in the field assign whole bytes: of two bits that fall into the same byte only
 * the later one stays. A filter with both would not be covered by what they advertise, so
 * the smaller one is the wire format.
 */
export function topicBloom(topic: Topic): Bloom {
	const bloom = new Uint8Array(bloomSize);
	for (let j = 0; j < 3; j++) {
		const bit = topic[j]! + (topic[3]! & (1 << j) ? 256 : 0);
		bloom[bit >> 3] = 1 << (bit & 7);
	}
	return bloom;
}

/** Tells whether every bit of `inner` is set in `outer`. */
export function bloomCovers(outer: Bloom, inner: Bloom): boolean {
	return inner.every((byte, i) => (byte & ~outer[i]!) === 0);
}

/** Returns the filter that covers what any of several covers. */
export function mergeBlooms(blooms: Iterable<Bloom>): Bloom {
	const merged = new Uint8Array(bloomSize);
	for (const bloom of blooms) {
		bloom.forEach((byte, i) => (merged[i]! |= byte));
	}
	return merged;
}
