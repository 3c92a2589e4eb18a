// How a wake-up is sealed to a device:
//
//	nonce 24 | encapsulated key 32, masked | XChaCha20-Poly1305 of the plain payload
//
// The encapsulated key is that of HPKE (RFC 9180, base mode), DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256, ChaCha20-Poly1305, whose secret export is the key of the rest. A server may
// use one encapsulated key for several wake-ups; it is masked with XChaCha20 under the
// nonce and a key made of the public seal key, which only the device and its server know,
// so that no two wake-ups have anything in common.
import { Chacha20Poly1305 } from '@hpke/chacha20poly1305';
import { CipherSuite, HkdfSha256 } from '@hpke/core';
import { DhkemX25519HkdfSha256 } from '@hpke/dhkem-x25519';
import { xchacha20, xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { x25519 } from '@noble/curves/ed25519.js';
import { hkdf } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concat, random, source, utf8 } from '../bytes.js';
import { ProtocolError } from '../errors.js';
import { chained } from './chain.js';
import { sealKeySize } from './limits.js';

const info = utf8('whisperpush/2');
const exporter = utf8('payload');
const maskInfo = utf8('whisperpush/2 mask');

const nonceSize = 24;
const encapsulatedSize = 32;
const tagSize = 16;

/** The length of every sealed payload in bytes. */
export const sealedSize = 1024;

/** The length of a payload before it is sealed, zeros at its end included, in bytes. */
export const plainSize = sealedSize - nonceSize - encapsulatedSize - tagSize;

/** The key pair that a device's wake-ups are sealed to: X25519, 32 bytes each. The private key stays on the device. */
export interface SealKey {
	readonly private: Uint8Array;
	readonly public: Uint8Array;
}

/** Makes a seal key. */
export function newSealKey(): SealKey {
	const key = random(sealKeySize);
	return { private: key, public: sealPublicKey(key) };
}

/** Returns the public half of a seal key. */
export const sealPublicKey = (key: Uint8Array): Uint8Array => x25519.getPublicKey(key);

const suite = (): CipherSuite =>
	new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Chacha20Poly1305() });

const mask = (sealKey: Uint8Array, nonce: Uint8Array, encapsulated: Uint8Array): Uint8Array =>
	xchacha20(hkdf(sha256, sealKey, undefined, maskInfo, 32), nonce, encapsulated);

/** Seals a plain payload of {@link plainSize} bytes to a public seal key. */
export async function sealPlain(plain: Uint8Array, sealKey: Uint8Array): Promise<Uint8Array> {
	const hpke = suite();
	const recipientPublicKey = await hpke.kem.deserializePublicKey(source(sealKey).slice().buffer);
	const sender = await hpke.createSenderContext({ recipientPublicKey, info: source(info) });
	const key = new Uint8Array(await sender.export(source(exporter), 32));
	const nonce = random(nonceSize);
	return concat(nonce, mask(sealKey, nonce, new Uint8Array(sender.enc)), xchacha20poly1305(key, nonce).encrypt(plain));
}

/** Undoes {@link sealPlain}, of {@link sealedSize} bytes. Rejects with a ProtocolError, `cannot-open`. */
export async function openSealed(sealed: Uint8Array, privateKey: Uint8Array): Promise<Uint8Array> {
	try {
		const nonce = sealed.subarray(0, nonceSize);
		const enc = mask(sealPublicKey(privateKey), nonce, sealed.subarray(nonceSize, nonceSize + encapsulatedSize));
		const key = chained(enc, privateKey) ?? (await exported(enc, privateKey));
		return xchacha20poly1305(key, nonce).decrypt(sealed.subarray(nonceSize + encapsulatedSize));
	} catch (cause) {
		throw new ProtocolError('cannot-open', 'push payload cannot be opened with this key', { cause });
	}
}

/** The key that an encapsulated key stands for. */
async function exported(enc: Uint8Array, privateKey: Uint8Array): Promise<Uint8Array> {
	const hpke = suite();
	const recipientKey = await hpke.kem.deserializePrivateKey(source(privateKey).slice().buffer);
	const recipient = await hpke.createRecipientContext({ recipientKey, enc: source(enc), info: source(info) });
	return new Uint8Array(await recipient.export(source(exporter), 32));
}
