import { secp256k1 } from '@noble/curves/secp256k1.js';
import { fromHex, source, utf8 } from '../bytes.js';
import { malformed } from '../errors.js';

/** A private key of secp256k1, 32 bytes. */
export type PrivateKey = Uint8Array;

/** A public key of secp256k1, compressed, 33 bytes. */
export type PublicKey = Uint8Array;

/** The length of a compressed public key in bytes. */
export const publicKeySize = 33;

/** The length of a symmetric key in bytes: AES-256. */
export const symmetricKeySize = 32;

/**
 * A key of AES-256-GCM, as 32 bytes or as a key of WebCrypto, which an app can keep in
 * IndexedDB in a form that no script can read ({@link passwordKey}).
 */
export type SymmetricKey = Uint8Array | CryptoKey;

/** Makes a private key. */
export const newPrivateKey = (): PrivateKey => secp256k1.utils.randomSecretKey();

/** Returns the public key of a private one. */
export const publicKeyOf = (key: PrivateKey): PublicKey => secp256k1.getPublicKey(key, true);

/**
 * Reads a public key in hexadecimal or bytes, compressed (33 bytes) or not (65 bytes), and
 * returns it compressed. Throws a ProtocolError, `malformed`, unless it is a point of the
 * curve.
 */
export function parsePublicKey(key: string | Uint8Array): PublicKey {
	const bytes = typeof key === 'string' ? fromHex(key.slice(0, 200), 'public key') : key;
	try {
		return secp256k1.Point.fromBytes(bytes).toBytes(true);
	} catch {
		throw malformed(`public key of ${bytes.length} bytes is not a point of secp256k1 in 33 or 65 bytes`);
	}
}

/** Returns a public key in its long form, 65 bytes, as JSON-RPC and log lines of nodes show it. */
export const uncompressed = (key: PublicKey): Uint8Array => secp256k1.Point.fromBytes(key).toBytes(false);

/** Tells whether a key signed a digest: r ‖ s, with the lesser s. */
export function isSigned(digest: Uint8Array, key: PublicKey, signature: Uint8Array): boolean {
	try {
		return secp256k1.verify(signature, digest, key, { prehash: false });
	} catch {
		return false; // it is no signature, or the key no point
	}
}

// A constant of the wire, odd as it looks: both sides of a password must use the same.
const passwordIterations = 65356;

const passwordParameters = { name: 'PBKDF2', hash: 'SHA-256', salt: new Uint8Array(0), iterations: passwordIterations };

const importPassword = (password: string): Promise<CryptoKey> =>
	crypto.subtle.importKey('raw', source(utf8(password)), 'PBKDF2', false, ['deriveBits', 'deriveKey']);

/**
 * Derives a symmetric key from a password: PBKDF2 with SHA-256, no salt and 65356
 * iterations. It takes tens of milliseconds.
 */
export async function keyFromPassword(password: string): Promise<Uint8Array> {
	const bits = await crypto.subtle.deriveBits(passwordParameters, await importPassword(password), 8 * symmetricKeySize);
	return new Uint8Array(bits);
}

/** Derives the key of {@link keyFromPassword} as one that WebCrypto keeps to itself: no script can read it out. */
export async function passwordKey(password: string): Promise<CryptoKey> {
	const algorithm = { name: 'AES-GCM', length: 8 * symmetricKeySize };
	return crypto.subtle.deriveKey(passwordParameters, await importPassword(password), algorithm, false, ['encrypt', 'decrypt']);
}
