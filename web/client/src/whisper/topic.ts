import { keccak_256 } from '@noble/hashes/sha3.js';
import { fromHex, hex0x, utf8 } from '../bytes.js';
import { ProtocolError } from '../errors.js';

/** The length of a topic in bytes (EIP-627, "Topics"). */
export const topicSize = 4;

/**
 * A hint, visible to everybody, of whom an envelope is for: four bytes. A receiver tries
 * to open only the envelopes of their topics.
 */
export type Topic = Uint8Array;

/** Returns the topic commonly used for a name: the first four bytes of its Keccak-256. */
export function topicFor(name: string): Topic {
	return keccak_256(utf8(name)).slice(0, topicSize);
}

/** Reads a topic in hexadecimal, such as `0x5a4ea131`, with or without the prefix. */
export function parseTopic(value: string): Topic {
	let topic: Uint8Array | undefined;
	if (value.length <= 2 + 2 * topicSize) {
		try {
			topic = fromHex(value);
		} catch {
			// It is said below what a topic looks like.
		}
	}
	if (topic?.length !== topicSize) {
		throw new ProtocolError('malformed', `topic "${value.slice(0, 20)}" is not four bytes in hexadecimal, such as 0x5a4ea131`);
	}
	return topic;
}

/** Returns a topic in hexadecimal with the prefix `0x`. */
export const formatTopic = (topic: Topic): string => hex0x(topic);
