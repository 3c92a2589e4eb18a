// Encryption to a public key, as go-ethereum's crypto/ecies does it for secp256k1:
//
//	R = r·G, with r random                   ephemeral key
//	z = x coordinate of r·(receiver's key)   32 bytes, with its leading zeros
//	k = SHA-256(00 00 00 01 ‖ z)             one round of a concatenation KDF
//	c = iv 16 ‖ AES-128-CTR(first half of k, iv, message)
//	m = HMAC-SHA256(SHA-256(second half of k), c)
//	R uncompressed 65 ‖ c ‖ m 32
import { ctr } from '@noble/ciphers/aes.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concat, equalSecrets, random } from '../bytes.js';
import { ProtocolError } from '../errors.js';
import { type PrivateKey, type PublicKey } from './keys.js';

const ephemeralSize = 65;
const ivSize = 16;
const macSize = 32;

/** What encryption adds to a message, in bytes: the ephemeral key, the IV and the MAC. */
export const eciesOverhead = ephemeralSize + ivSize + macSize;

function keysFor(own: PrivateKey, other: Uint8Array): { cipher: Uint8Array; mac: Uint8Array } {
	const shared = secp256k1.getSharedSecret(own, other, true).subarray(1);
	const k = sha256(concat(Uint8Array.of(0, 0, 0, 1), shared));
	return { cipher: k.subarray(0, 16), mac: sha256(k.subarray(16)) };
}

/** Encrypts a message to a public key. The ephemeral key and the IV are random; tests fix them. */
export function eciesEncrypt(
	to: PublicKey,
	message: Uint8Array,
	ephemeral: PrivateKey = secp256k1.utils.randomSecretKey(),
	iv: Uint8Array = random(ivSize),
): Uint8Array {
	const keys = keysFor(ephemeral, to);
	const sealed = concat(iv, ctr(keys.cipher, iv).encrypt(message));
	return concat(secp256k1.getPublicKey(ephemeral, false), sealed, hmac(sha256, keys.mac, sealed));
}

/** Decrypts what was encrypted to a key. Throws a ProtocolError, `cannot-open`. */
export function eciesDecrypt(key: PrivateKey, data: Uint8Array): Uint8Array {
	if (data.length <= eciesOverhead) {
		throw cannotOpen(`data of ${data.length} bytes`);
	}
	let keys;
	try {
		// A point off the curve never reaches the arithmetic.
		const ephemeral = secp256k1.Point.fromBytes(data.subarray(0, ephemeralSize));
		keys = keysFor(key, ephemeral.toBytes(true));
	} catch {
		throw cannotOpen('the ephemeral key is not a point of the curve');
	}
	const sealed = data.subarray(ephemeralSize, data.length - macSize);
	if (!equalSecrets(hmac(sha256, keys.mac, sealed), data.subarray(data.length - macSize))) {
		throw cannotOpen('it is not for this key');
	}
	return ctr(keys.cipher, sealed.subarray(0, ivSize)).decrypt(sealed.subarray(ivSize));
}

export const cannotOpen = (why: string): ProtocolError =>
	new ProtocolError('cannot-open', `envelope cannot be opened with this key: ${why}`);
