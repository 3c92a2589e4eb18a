import { bytesToHex, concatBytes, hexToBytes, randomBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { malformed } from './errors.js';

/** No bytes. It is shared, which is harmless: there is nothing in it to change. */
export const empty = new Uint8Array(0);

export const concat = (...parts: readonly Uint8Array[]): Uint8Array => concatBytes(...parts);
export const random = (size: number): Uint8Array => randomBytes(size);
export const utf8 = (text: string): Uint8Array => utf8ToBytes(text);

// A byte order mark is a character like others here, and a byte that is no UTF-8
// becomes U+FFFD: a stranger's text is shown, it is not trusted.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Reads bytes as UTF-8; what is none becomes U+FFFD. */
export const text = (bytes: Uint8Array): string => decoder.decode(bytes);

/** Returns bytes in lower-case hexadecimal, without a prefix. */
export const hex = (bytes: Uint8Array): string => bytesToHex(bytes);

/** Returns bytes in lower-case hexadecimal with the prefix `0x`, the usual form of hashes and topics. */
export const hex0x = (bytes: Uint8Array): string => '0x' + bytesToHex(bytes);

/** Reads hexadecimal, with or without the prefix `0x`. `what` names it in the error. */
export function fromHex(value: string, what = 'value'): Uint8Array {
	const digits = value.startsWith('0x') ? value.slice(2) : value;
	if (digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits)) {
		throw malformed(`${what} is not hexadecimal`);
	}
	return hexToBytes(digits);
}

/** Tells whether two byte strings are the same. It is not for secrets. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
	return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Tells whether two byte strings are the same, in a time that depends on their lengths alone. */
export function equalSecrets(a: Uint8Array, b: Uint8Array): boolean {
	if (a.length !== b.length) {
		return false;
	}
	let difference = 0;
	for (let i = 0; i < a.length; i++) {
		difference |= a[i]! ^ b[i]!;
	}
	return difference === 0;
}

/** Tells whether all bytes are zero. */
export const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/** Returns an integer in so many big-endian bytes. */
export function bigEndian(value: bigint, size: number): Uint8Array {
	const bytes = new Uint8Array(size);
	for (let i = size - 1; i >= 0; i--, value >>= 8n) {
		bytes[i] = Number(value & 0xffn);
	}
	return bytes;
}

/** Reads big-endian bytes, at most eight of them. */
export function readBigEndian(bytes: Uint8Array): bigint {
	let value = 0n;
	for (const byte of bytes) {
		value = (value << 8n) | BigInt(byte);
	}
	return value;
}

/** Hands bytes to WebCrypto, whose types leave out shared memory: none of ours is shared. */
export const source = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => bytes as Uint8Array<ArrayBuffer>;
