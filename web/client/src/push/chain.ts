// Keys of wake-ups that a device and its server need not agree on each time: a chain that
// the device starts with its Register (docs/protocol.md, section 6). The device keeps nothing
// of it, as it makes the chain again of its private seal key.
import { hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concat, utf8 } from '../bytes.js';
import { malformed } from '../errors.js';

/** How many keys a chain has. */
export const maxChain = 1 << 14;

const chainInfo = utf8('whisperpush/2 chain');

function bigEndian(value: bigint): Uint8Array {
	const b = new Uint8Array(8);
	new DataView(b.buffer).setBigUint64(0, value);
	return b;
}

const hashLink = (link: Uint8Array, label: number): Uint8Array => sha256(concat(link, Uint8Array.of(label)));

/** The start of the chain that a device gives in the Register of a version, 32 bytes. */
export const chainStart = (privateSealKey: Uint8Array, version: bigint): Uint8Array =>
	hkdf(sha256, privateSealKey, undefined, concat(chainInfo, bigEndian(version)), 32);

/** A chain's value before its key of a number, from 0 on. */
export function chainLink(start: Uint8Array, number: number): Uint8Array {
	let link = start;
	for (let at = 0; at < number; at++) {
		link = hashLink(link, 2);
	}
	return link;
}

/** The key of a number, of a chain's value before it. */
export const chainKey = (link: Uint8Array): Uint8Array => hashLink(link, 1);

/**
 * The key that stands in the place of an encapsulated key, none if it is one: version 8,
 * number 8, 16 zeros.
 */
export function chained(encapsulated: Uint8Array, privateSealKey: Uint8Array): Uint8Array | undefined {
	if (encapsulated.subarray(16).some((b) => b !== 0)) {
		return undefined;
	}
	const view = new DataView(encapsulated.buffer, encapsulated.byteOffset, encapsulated.byteLength);
	const number = view.getBigUint64(8);
	if (number >= BigInt(maxChain)) {
		throw malformed('a key beyond the end of its chain');
	}
	return chainKey(chainLink(chainStart(privateSealKey, view.getBigUint64(0)), Number(number)));
}
