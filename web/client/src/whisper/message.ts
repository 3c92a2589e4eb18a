// The plaintext in an envelope (EIP-627, "Contents of Data Field"):
//
//	flags 1 ‖ payload size 1 to 3, little-endian ‖ payload ‖ padding ‖ [signature 65]
//
// The two lowest bits of flags give the length of the size field, the third says that
// there is a signature, which covers everything before it.
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { concat, random, source } from '../bytes.js';
import { cannotOpen, eciesDecrypt } from './ecies.js';
import { type Envelope } from './envelope.js';
import { type PrivateKey, type PublicKey, publicKeyOf, type SymmetricKey, symmetricKeySize } from './keys.js';

const sizeFieldMask = 0x03;
const signedFlag = 0x04;
const signatureSize = 65;

/** The multiple to which a message is padded, its signature included, so that the length tells little. */
const paddedTo = 256;

/** The longest payload in bytes: what a size field of three bytes can tell. */
export const maxPayload = 2 ** 24 - 1;

const gcmNonceSize = 12;
const gcmTagSize = 16;

/** What was inside an envelope. */
export interface Message {
	readonly payload: Uint8Array;
	readonly padding: Uint8Array;
	/** Who signed it; undefined: nobody. */
	readonly signer: PublicKey | undefined;
	/** Whose key opened it; undefined: a symmetric key. */
	readonly to: PublicKey | undefined;
}

/** What a message consists of before it is encrypted. */
export interface Content {
	/** At most {@link maxPayload} bytes; what a node passes on is bounded by its maximum message size. */
	readonly payload: Uint8Array;
	/** Undefined: random, up to a multiple of 256 bytes. */
	readonly padding?: Uint8Array | undefined;
	/** Who signs; undefined: nobody. */
	readonly sign?: PrivateKey | undefined;
}

/** Lays out, pads and signs a message. Throws a RangeError if the payload is too long. */
export function layOut(content: Content): Uint8Array {
	const { payload, sign } = content;
	if (payload.length > maxPayload) {
		throw new RangeError(`payload of ${payload.length} bytes, at most ${maxPayload}`);
	}
	const size: number[] = [];
	for (let n = payload.length; n > 0 || size.length === 0; n >>= 8) {
		size.push(n & 0xff);
	}
	const flags = size.length | (sign ? signedFlag : 0);
	const bare = 1 + size.length + payload.length + (sign ? signatureSize : 0);
	const padding = content.padding ?? random(paddedTo - (bare % paddedTo));
	const plain = concat(Uint8Array.of(flags, ...size), payload, padding);
	return sign ? concat(plain, signature(plain, sign)) : plain;
}

// r 32 ‖ s 32 ‖ v 1 over the Keccak-256, where v is the bare recovery id. The library
// puts v first.
function signature(plain: Uint8Array, key: PrivateKey): Uint8Array {
	const signed = secp256k1.sign(keccak_256(plain), key, { prehash: false, format: 'recovered' });
	return concat(signed.subarray(1), signed.subarray(0, 1));
}

function recover(plain: Uint8Array, sig: Uint8Array): PublicKey {
	const recovered = concat(sig.subarray(64), sig.subarray(0, 64));
	return secp256k1.recoverPublicKey(recovered, keccak_256(plain), { prehash: false });
}

/** Undoes {@link layOut}. The bytes come from anybody who knows a key. Throws a ProtocolError, `cannot-open`. */
export function parseMessage(plain: Uint8Array, to?: PublicKey): Message {
	const flags = plain[0];
	if (flags === undefined) {
		throw cannotOpen('the message is empty');
	}
	let body = plain.subarray(1);
	let signer: PublicKey | undefined;
	if (flags & signedFlag) {
		if (body.length <= signatureSize) {
			throw cannotOpen(`a signed message of ${plain.length} bytes`);
		}
		const signed = plain.subarray(0, plain.length - signatureSize);
		try {
			signer = recover(signed, plain.subarray(signed.length));
		} catch {
			throw cannotOpen('the signature is of nobody');
		}
		body = signed.subarray(1);
	}
	const digits = flags & sizeFieldMask;
	if (digits > body.length) {
		throw cannotOpen('there is no room for the payload size');
	}
	let size = 0;
	for (let i = digits - 1; i >= 0; i--) {
		size = size * 256 + body[i]!;
	}
	body = body.subarray(digits);
	if (size > body.length) {
		throw cannotOpen(`a payload of ${size} bytes in a message of ${plain.length}`);
	}
	return { payload: body.subarray(0, size), padding: body.subarray(size), signer, to };
}

async function gcmKey(key: SymmetricKey): Promise<CryptoKey> {
	if (!(key instanceof Uint8Array)) {
		return key;
	}
	if (key.length !== symmetricKeySize) {
		throw new RangeError(`symmetric key of ${key.length} bytes, not ${symmetricKeySize}`);
	}
	return crypto.subtle.importKey('raw', source(key), 'AES-GCM', false, ['encrypt', 'decrypt']);
}

/** Encrypts a laid-out message with a symmetric key. The nonce goes behind the ciphertext, unlike the usual order. */
export async function sealSymmetric(key: SymmetricKey, plain: Uint8Array): Promise<Uint8Array> {
	const iv = source(random(gcmNonceSize));
	const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, await gcmKey(key), source(plain));
	return concat(new Uint8Array(sealed), iv);
}

/**
 * Decrypts an envelope with a symmetric key. Rejects with a ProtocolError, `cannot-open`,
 * if it is for another key, or if there is no message in it; the two cannot be told apart
 * for sure.
 */
export async function openSymmetric(envelope: Pick<Envelope, 'data'>, key: SymmetricKey): Promise<Message> {
	const split = envelope.data.length - gcmNonceSize;
	if (split < gcmTagSize) {
		throw cannotOpen(`data of ${envelope.data.length} bytes`);
	}
	let plain: Uint8Array;
	try {
		const iv = source(envelope.data.subarray(split));
		const sealed = source(envelope.data.subarray(0, split));
		plain = new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, await gcmKey(key), sealed));
	} catch (error) {
		throw cannotOpen(error instanceof RangeError ? error.message : 'it is not for this key');
	}
	return parseMessage(plain);
}

/** Decrypts an envelope with the private key of its receiver. Rejects with a ProtocolError, `cannot-open`. */
export async function openAsymmetric(envelope: Pick<Envelope, 'data'>, key: PrivateKey): Promise<Message> {
	return parseMessage(eciesDecrypt(key, envelope.data), publicKeyOf(key));
}
