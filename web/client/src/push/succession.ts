import { secp256k1 } from '@noble/curves/secp256k1.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { concat, equal, utf8 } from '../bytes.js';
import { ProtocolError } from '../errors.js';
import { Reader } from '../reader.js';
import * as rlp from '../rlp.js';
import { type PrivateKey, type PublicKey, publicKeyOf } from '../whisper/keys.js';
import { maxSuccessions, pushKeySize, signatureSize } from './limits.js';

const domain = utf8('whisperpush/2 succession');

/**
 * Says that a server goes on with another push key. Both keys sign it: the former one, so that
 * who trusts that may trust the next, and the next, so that nobody can name a key that is
 * another server's.
 */
export interface Succession {
	readonly former: PublicKey;
	readonly next: PublicKey;
	/** Since when there is the next key, Unix seconds. */
	readonly begun: bigint;
	/** Until when the server answers to the former one, Unix seconds. */
	readonly until: bigint;
	/** By the former key, 64 bytes. */
	readonly signature: Uint8Array;
	/** By the next key, 64 bytes. */
	readonly consent: Uint8Array;
}

function eightBytes(value: bigint): Uint8Array {
	const bytes = new Uint8Array(8);
	new DataView(bytes.buffer).setBigUint64(0, value);
	return bytes;
}

const digest = (s: Pick<Succession, 'former' | 'next' | 'begun' | 'until'>): Uint8Array =>
	keccak_256(concat(domain, s.former, s.next, eightBytes(s.begun), eightBytes(s.until)));

/** Has both keys sign that one follows the other. */
export function newSuccession(former: PrivateKey, next: PrivateKey, begun: bigint, until: bigint): Succession {
	const keys = { former: publicKeyOf(former), next: publicKeyOf(next), begun, until };
	const sign = (key: PrivateKey): Uint8Array => secp256k1.sign(digest(keys), key, { prehash: false });
	return { ...keys, signature: sign(former), consent: sign(next) };
}

function signedBy(key: PublicKey, hash: Uint8Array, signature: Uint8Array): boolean {
	try {
		return secp256k1.verify(signature, hash, key, { prehash: false });
	} catch {
		return false; // the key is no point of the curve
	}
}

/** Tells whether both keys signed a succession. */
export function verifySuccession(s: Succession): boolean {
	const hash = digest(s);
	return !equal(s.former, s.next) && signedBy(s.former, hash, s.signature) && signedBy(s.next, hash, s.consent);
}

/**
 * Goes from a push key along successions that are listed oldest first, and returns those that
 * lead on from it; none if there are none for that key. Throws a ProtocolError, `signer`, if one
 * of them is not signed as it has to be.
 */
export function follow(pushKey: PublicKey, listed: readonly Succession[]): Succession[] {
	const path: Succession[] = [];
	for (const s of listed) {
		if (!equal(s.former, pushKey)) {
			continue;
		}
		if (!verifySuccession(s)) {
			throw new ProtocolError('signer', 'succession is not signed by both push keys');
		}
		path.push(s);
		pushKey = s.next;
	}
	return path;
}

const fields = (s: Succession): Uint8Array =>
	rlp.list([rlp.string(s.former), rlp.string(s.next), rlp.uint(s.begun), rlp.uint(s.until), rlp.string(s.signature), rlp.string(s.consent)]);

/** Returns a succession alone, as it is in a reply. */
export const encodeSuccession = fields;

/** Undoes {@link encodeSuccession}. It checks no signature. Throws a ProtocolError. */
export const decodeSuccession = (bytes: Uint8Array): Succession => readFields(Reader.open(bytes, 'succession', false));

export const encodeSuccessions = (all: readonly Succession[]): Uint8Array => rlp.list(all.map(fields));

export const readSuccessions = (reader: Reader): Succession[] =>
	reader.items('successions', maxSuccessions, (list) => readFields(list.list('succession')));

const readFields = (r: Reader): Succession => ({
	former: r.fixed('former push key', pushKeySize),
	next: r.fixed('next push key', pushKeySize),
	begun: r.uint('begin of a push key'),
	until: r.uint('end of a push key'),
	signature: r.fixed('signature', signatureSize),
	consent: r.fixed('consent', signatureSize),
});
