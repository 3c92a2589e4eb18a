import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concat, empty, equalSecrets, utf8 } from '../bytes.js';
import { codeSize } from './limits.js';
import { type Confirm, type Notify, type NotifyType } from './request.js';

const confirmInfo = utf8('whisperpush/2 confirm');

/**
 * Answers a challenge of the server with a push key for the registration under a
 * registration key, both compressed. The code itself would serve whoever it is told to, so
 * it is not sent, but a proof that means something to one server and one registration:
 *
 *     HMAC-SHA256(code, "whisperpush/2 confirm" ‖ push key 33 ‖ registration key 33)
 */
export function confirmation(code: Uint8Array, pushKey: Uint8Array, registrationKey: Uint8Array): Confirm {
	const proof = hmac(sha256, code, concat(confirmInfo, pushKey, registrationKey));
	return { kind: 'confirm', code: new Uint8Array(codeSize), proof };
}

/** Tells whether a Confirm proves that the device knows a code, in the same time for every wrong one. */
export function proves(confirm: Confirm, code: Uint8Array, pushKey: Uint8Array, registrationKey: Uint8Array): boolean {
	return confirm.proof.length === 0
		? equalSecrets(confirm.code, code)
		: equalSecrets(confirm.proof, confirmation(code, pushKey, registrationKey).proof);
}

/**
 * Mints a holder's capability from a receiver's root: whoever has it may ring the receiver
 * until they revoke the holder. It is given away in private, with handle and holder.
 */
export const capability = (root: Uint8Array, holder: string): Uint8Array => hmac(sha256, root, utf8(holder));

/** What a sender holds who may ring somebody. */
export interface Capability {
	readonly capability: Uint8Array;
	readonly handle: Uint8Array;
	readonly holder: string;
}

const prove = (key: Uint8Array, hash: Uint8Array, type: NotifyType, pushKey: Uint8Array): Uint8Array =>
	hmac(sha256, key, concat(hash, Uint8Array.of(type), pushKey));

/** Makes the Notify of a sender who holds a capability, for the server with a push key, compressed. */
export function notification(by: Capability, hash: Uint8Array, type: NotifyType, pushKey: Uint8Array): Notify {
	const { handle, holder } = by;
	return { kind: 'notify', handle, holder, hash, type, proof: prove(by.capability, hash, type, pushKey) };
}

/** Tells whether a Notify was made with the capability that its holder has from a root, for the server with that push key. */
export function verifies(notify: Notify, root: Uint8Array, pushKey: Uint8Array): boolean {
	const key = capability(root, notify.holder);
	const bound = equalSecrets(prove(key, notify.hash, notify.type, pushKey), notify.proof);
	// Senders of before 2027 leave out the push key.
	const unbound = equalSecrets(prove(key, notify.hash, notify.type, empty), notify.proof);
	return bound || unbound;
}
