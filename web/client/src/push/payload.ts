import { concat, empty, equal, fromHex, hex, hex0x, isZero, text, utf8 } from '../bytes.js';
import { malformed, ProtocolError, tooLarge } from '../errors.js';
import { Reader } from '../reader.js';
import * as rlp from '../rlp.js';
import { openSealed, plainSize, sealedSize, sealPlain } from './hpke.js';
import { codeSize, hashSize, maxBody, maxHashes, protocolVersion, pushKeySize } from './limits.js';
import { checkVersion, encodeHashes, readHashes } from './parts.js';

/** What a wake-up is for. A kind that is not here has to be ignored. */
export const PayloadKind = {
	/** Envelopes wait to be fetched. */
	messages: 1,
	/** The code is to be answered with Confirm. */
	challenge: 2,
	/** The hashes were seen on another device: remove their notifications. */
	dismiss: 3,
	/** A test of the way; nothing to do. */
	canary: 4,
} as const;

/** What a device receives through its push service. It is the same for every provider. */
export interface Payload {
	/** See {@link PayloadKind}. */
	readonly kind: number;
	/** Counts the wake-ups with messages of a registration, from 1; 0 in others. One that is repeated keeps its number. */
	readonly seq: bigint;
	/** More envelopes wait than `hashes` holds: ask for everything since the cursor. */
	readonly more: boolean;
	/** All envelopes not yet fetched, the newest first: at most 28. */
	readonly hashes: readonly Uint8Array[];
	/** The challenge's, 16 bytes; none in other kinds. */
	readonly code: Uint8Array;
	/** Whose challenge it is: a push key, 33 bytes. None in other kinds, and from servers of before 2027. */
	readonly server: Uint8Array;
	/** For whom the challenge is: a registration key, 33 bytes. */
	readonly account: Uint8Array;
}

/** A wake-up that says nothing but its kind. */
export const emptyPayload: Payload = {
	kind: PayloadKind.canary, seq: 0n, more: false, hashes: [], code: empty, server: empty, account: empty,
};

/** Tells whether a challenge is of that server and for that account. One that names nobody is not. */
export const namesBoth = (payload: Payload, server: Uint8Array, account: Uint8Array): boolean =>
	equal(payload.server, server) && equal(payload.account, account);

function check(p: Payload): Payload {
	const challenge = p.kind === PayloadKind.challenge;
	if (p.hashes.length > maxHashes) {
		throw tooLarge(`${p.hashes.length} hashes, at most ${maxHashes}`);
	}
	if (p.code.length !== (challenge ? codeSize : 0)) {
		throw malformed(`code of ${p.code.length} bytes in a payload of kind ${p.kind}`);
	}
	if (!challenge && p.server.length + p.account.length !== 0) {
		throw malformed('server or account in a payload that is not a challenge');
	}
	if (p.server.length !== p.account.length || (p.server.length !== 0 && p.server.length !== pushKeySize)) {
		throw malformed(`challenge of a server key of ${p.server.length} bytes and an account of ${p.account.length}`);
	}
	return p;
}

/** Lays out [version, kind, seq, more, hashes, code, server, account] and zeros up to 952 bytes. */
export function encodePayload(p: Payload): Uint8Array {
	check(p);
	const message = rlp.list([
		rlp.uint(protocolVersion),
		rlp.uint(p.kind),
		rlp.uint(p.seq),
		rlp.uint(p.more ? 1 : 0),
		encodeHashes(p.hashes),
		rlp.string(p.code),
		...(p.server.length > 0 ? [rlp.string(p.server), rlp.string(p.account)] : []),
	]);
	if (message.length > plainSize) {
		throw tooLarge(`payload of ${message.length} bytes, at most ${plainSize}`);
	}
	return concat(message, new Uint8Array(plainSize - message.length));
}

/** Undoes {@link encodePayload}. Throws a ProtocolError, `malformed`, `version` or `too-large`. */
export function decodePayload(bytes: Uint8Array): Payload {
	const { rest } = rlp.split(bytes, 'payload');
	if (!isZero(rest)) {
		throw malformed('payload is not one list and zeros');
	}
	const r = Reader.open(bytes.subarray(0, bytes.length - rest.length), 'payload', true);
	checkVersion(r.uint('version'));
	return check({
		kind: r.small('kind', 0xff),
		seq: r.uint('sequence'),
		more: r.bool('more'),
		hashes: readHashes(r, maxHashes),
		code: r.maybe('code', codeSize),
		server: r.maybe('server', pushKeySize),
		account: r.maybe('account', pushKeySize),
	});
}

/** Returns the body of a wake-up, sealed to a public seal key: JSON text of 1382 bytes, whatever it says. */
export async function sealPayload(payload: Payload, sealKey: Uint8Array): Promise<string> {
	const sealed = await sealPlain(encodePayload(payload), sealKey);
	return `{"v":${protocolVersion},"p":"${btoa(String.fromCharCode(...sealed))}"}`;
}

/** Returns the body for a registration that asked for the plain form. What is zero is left out. */
export function plainPayload(payload: Payload): string {
	const p = check(payload);
	const fields = [
		['k', String(p.kind)],
		['s', p.seq && String(p.seq)],
		['m', p.more && '1'],
		['h', p.hashes.length > 0 && JSON.stringify(p.hashes.map(hex0x))],
		...([['c', p.code], ['b', p.server], ['a', p.account]] as const).map(([name, value]) => [name, value.length > 0 && `"${hex(value)}"`]),
	];
	return `{"v":${protocolVersion}${fields.map(([name, value]) => (value ? `,"${name}":${value}` : '')).join('')}}`;
}

/**
 * Reads the body of a wake-up. With the device's private seal key it takes the sealed form
 * only, which nobody can make who does not know the public one; without a key it takes the
 * plain form only. Rejects with a ProtocolError, `cannot-open`, `malformed`, `version` or
 * `too-large`, whatever it is given.
 *
 * A sequence beyond 2^53 is refused in the plain form: JSON does not carry it whole.
 */
export async function openPayload(body: Uint8Array | string, sealKey: Uint8Array | undefined): Promise<Payload> {
	// A character takes a byte at least, so a long text need not be encoded to be refused.
	const size = typeof body === 'string' && body.length <= maxBody ? utf8(body).length : body.length;
	if (size > maxBody) {
		throw tooLarge(`body of ${size} bytes, at most ${maxBody}`);
	}
	const members = parseObject(typeof body === 'string' ? body : text(body));
	const version = number(members['v'], 'version');
	if (version !== protocolVersion) {
		throw new ProtocolError('version', `protocol version ${version} is not supported, only ${protocolVersion}`);
	}
	const sealed = string(members['p'], 'sealed part');
	if (sealKey) {
		return decodePayload(await openSealed(base64(sealed), sealKey));
	}
	if (sealed !== '') {
		throw new ProtocolError('cannot-open', 'body is sealed, and there is no key');
	}
	const [kind, more] = [number(members['k'], 'kind'), number(members['m'], 'more')];
	if (kind > 0xff || more > 1) {
		throw malformed('kind or more out of range');
	}
	return check({
		kind,
		seq: BigInt(number(members['s'], 'sequence')),
		more: more === 1,
		hashes: hashes(members['h']),
		code: fromHex(bare(string(members['c'], 'code')), 'code'),
		server: fromHex(bare(string(members['b'], 'server')), 'server'),
		account: fromHex(bare(string(members['a'], 'account')), 'account'),
	});
}

function parseObject(json: string): Record<string, unknown> {
	const value = parse(json);
	if (typeof value !== 'object' || value === null || Array.isArray(value)) {
		throw malformed('body is no JSON object');
	}
	return value as Record<string, unknown>;
}

function parse(json: string): unknown {
	try {
		return JSON.parse(json);
	} catch {
		throw malformed('body is no JSON');
	}
}

// Services that carry only strings may turn every value into one, so each can be read
// from a string as well.
function number(value: unknown, what: string): number {
	const n = typeof value === 'string' && /^[0-9]{1,16}$/.test(value) ? Number(value) : (value ?? 0);
	if (typeof n !== 'number' || !Number.isSafeInteger(n) || n < 0) {
		throw malformed(`${what} is no number`);
	}
	return n;
}

function string(value: unknown, what: string): string {
	if (value !== undefined && value !== null && typeof value !== 'string') {
		throw malformed(`${what} is no string`);
	}
	return value ?? '';
}

// Unlike hashes, these are without 0x.
function bare(digits: string): string {
	if (digits.startsWith('0x')) {
		throw malformed('hexadecimal with 0x where there is none');
	}
	return digits;
}

function hashes(value: unknown): Uint8Array[] {
	const list = typeof value === 'string' ? parse(value) : (value ?? []);
	if (!Array.isArray(list)) {
		throw malformed('hashes are no list');
	}
	if (list.length > maxHashes) {
		throw tooLarge(`${list.length} hashes, at most ${maxHashes}`);
	}
	return list.map((hash: unknown) => {
		if (typeof hash !== 'string' || hash.length !== 2 + 2 * hashSize || !hash.startsWith('0x')) {
			throw malformed('hash is not 32 bytes in hexadecimal with 0x');
		}
		return fromHex(hash, 'hash');
	});
}

function base64(encoded: string): Uint8Array {
	if (encoded.length !== Math.ceil(sealedSize / 3) * 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded)) {
		throw malformed(`sealed part is not ${sealedSize} bytes in base64`);
	}
	let binary: string;
	try {
		binary = atob(encoded);
	} catch {
		throw malformed('sealed part is no base64');
	}
	if (binary.length !== sealedSize) {
		throw malformed(`sealed part of ${binary.length} bytes, not ${sealedSize}`);
	}
	return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}
