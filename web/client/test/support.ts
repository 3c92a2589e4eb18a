import { readFileSync } from 'node:fs';
import { type ErrorCode, ProtocolError } from '../src/errors.js';
import { fromHex, hex0x } from '../src/bytes.js';

/** The root of the repository, seen from where this file is built to. */
export const root = new URL('../../../../', import.meta.url);

/** Reads a file of the repository. */
export const readText = (path: string): string => readFileSync(new URL(path, root), 'utf8');

/** Reads a JSON file of the repository. */
export const readJson = <T>(path: string): T => JSON.parse(readText(path)) as T;

/** Runs some code and tells how it failed; an error that is no ProtocolError is thrown on. */
export function failure(code: () => unknown): ErrorCode | undefined {
	try {
		code();
	} catch (error) {
		if (error instanceof ProtocolError) {
			return error.code;
		}
		throw error;
	}
	return undefined;
}

/** The same for code that is asynchronous. */
export async function failureOf(code: () => Promise<unknown>): Promise<ErrorCode | undefined> {
	try {
		await code();
	} catch (error) {
		if (error instanceof ProtocolError) {
			return error.code;
		}
		throw error;
	}
	return undefined;
}

/**
 * Turns a value into what the shared vectors hold: bytes in hexadecimal, integers of 64
 * bits in decimal digits, nothing for undefined. The Go side writes the same.
 */
export function plain(value: unknown): unknown {
	if (value instanceof Uint8Array) {
		return hex0x(value);
	}
	if (typeof value === 'bigint') {
		return value.toString();
	}
	if (Array.isArray(value)) {
		return value.map(plain);
	}
	if (value !== null && typeof value === 'object') {
		return Object.fromEntries(
			Object.entries(value)
				.filter(([, v]) => v !== undefined)
				.map(([k, v]) => [k, plain(v)]),
		);
	}
	return value;
}

/** Reads a float from its IEEE 754 bits in hexadecimal, which may be without leading zeros. */
export function float(bits: string): number {
	const bytes = fromHex(bits.slice(2).padStart(16, '0'));
	return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0);
}

/** Repeats a byte, as the keys of the vectors do. */
export const filled = (size: number, byte: number): Uint8Array => new Uint8Array(size).fill(byte);

/** Who wrote shared vectors. */
export const writers = ['go', 'typescript'] as const;
