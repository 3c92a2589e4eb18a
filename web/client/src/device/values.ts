// Values of a store as bytes: objects, arrays, strings, numbers, booleans, null, bigints and bytes.
import { fromHex, hex, text, utf8 } from '../bytes.js';
import { malformed } from '../errors.js';

// What JSON does not have is an object with one member whose name begins with $; an object
// of the app's with such a name has one $ more.
const bytesTag = '$bytes';
const bigintTag = '$bigint';
const maxDepth = 64;

function pack(value: unknown, depth: number): unknown {
	if (depth > maxDepth) {
		throw new TypeError('the value is nested too deeply to be kept');
	}
	if (value instanceof Uint8Array) {
		return { [bytesTag]: hex(value) };
	}
	if (typeof value === 'bigint') {
		return { [bigintTag]: value.toString() };
	}
	if (Array.isArray(value)) {
		return value.map((v) => pack(v, depth + 1));
	}
	if (typeof value === 'object' && value !== null) {
		if (Object.getPrototypeOf(value) !== Object.prototype && Object.getPrototypeOf(value) !== null) {
			throw new TypeError(`a ${value.constructor.name} cannot be kept`);
		}
		const entries = Object.entries(value).filter(([, v]) => v !== undefined);
		return Object.fromEntries(entries.map(([k, v]) => [k.startsWith('$') ? '$' + k : k, pack(v, depth + 1)]));
	}
	if (typeof value === 'number' && !Number.isFinite(value)) {
		throw new TypeError(`the number ${value} cannot be kept`);
	}
	return value;
}

function unpack(value: unknown, depth: number): unknown {
	if (depth > maxDepth) {
		throw malformed('the value is nested too deeply');
	}
	if (Array.isArray(value)) {
		return value.map((v) => unpack(v, depth + 1));
	}
	if (typeof value !== 'object' || value === null) {
		return value;
	}
	const entries = Object.entries(value as Record<string, unknown>);
	const [first] = entries;
	if (entries.length === 1 && first && typeof first[1] === 'string') {
		if (first[0] === bytesTag) {
			return fromHex(first[1], 'bytes');
		}
		if (first[0] === bigintTag && /^-?[0-9]{1,80}$/.test(first[1])) {
			return BigInt(first[1]);
		}
	}
	const object: Record<string, unknown> = {};
	for (const [k, v] of entries) {
		const name = k.startsWith('$$') ? k.slice(1) : k;
		Object.defineProperty(object, name, { value: unpack(v, depth + 1), enumerable: true, writable: true, configurable: true });
	}
	return object;
}

/** Returns a value as bytes. Throws a TypeError for what cannot be told in them, such as keys of WebCrypto. */
export const encodeValue = (value: unknown): Uint8Array => utf8(JSON.stringify(pack(value, 0)));

/** Undoes {@link encodeValue}. Throws a ProtocolError, `malformed`. */
export function decodeValue(bytes: Uint8Array): unknown {
	let value: unknown;
	try {
		value = JSON.parse(text(bytes));
	} catch {
		throw malformed('the value is no JSON');
	}
	return unpack(value, 0);
}
