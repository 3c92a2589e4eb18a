/**
 * A file that is sealed with a passphrase, for what an app keeps.
 *
 * @module
 */
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { scryptAsync } from '@noble/hashes/scrypt.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concat, equal, random, utf8 } from './bytes.js';

//	"whisperpush backup " ‖ version 1 ‖ log2 N 1 ‖ salt 16 ‖ nonce 24 ‖ XChaCha20-Poly1305 ‖ SHA-256 of all before, 32
//
// The key is scrypt of the passphrase, in Unicode's form NFKC, with r = 8 and p = 1. What is before the nonce is
// authenticated too. The checksum tells a damaged file from a wrong passphrase, and nothing more.
const magic = utf8('whisperpush backup ');
const version = 1;
const saltSize = 16;
const nonceSize = 24;
const tagSize = 16;
const sumSize = 32;
const headSize = magic.length + 2 + saltSize;
/** 64 MiB, and about half a second of a computer. */
const logN = 16;
/** What a file may ask of whoever opens it: 512 MiB. */
const maxLogN = 19;

/** The largest file that is read, in bytes. */
export const maxBackup = 64 << 20;
/** The shortest passphrase that a file is sealed with, in characters. */
export const minPassphrase = 8;

/** Why a file cannot be opened. */
export type BackupErrorCode = 'not-ours' | 'later-version' | 'damaged' | 'passphrase' | 'too-large' | 'weak';

/** What {@link openBackup} and {@link sealBackup} reject with; the text is for people. */
export class BackupError extends Error {
	override readonly name = 'BackupError';
	constructor(readonly code: BackupErrorCode, message: string) {
		super(message);
	}
}

const keyOf = (passphrase: string, salt: Uint8Array, log: number): Promise<Uint8Array> =>
	scryptAsync(utf8(passphrase.normalize('NFKC')), salt, { N: 2 ** log, r: 8, p: 1, dkLen: 32, maxmem: 2 ** 30 });

/** Seals bytes with a passphrase. */
export async function sealBackup(content: Uint8Array, passphrase: string): Promise<Uint8Array> {
	if ([...passphrase].length < minPassphrase) {
		throw new BackupError('weak', `the passphrase is too short: take ${minPassphrase} characters at least, better several words`);
	}
	const head = concat(magic, Uint8Array.of(version, logN), random(saltSize));
	const nonce = random(nonceSize);
	const key = await keyOf(passphrase, head.subarray(headSize - saltSize), logN);
	const file = concat(head, nonce, xchacha20poly1305(key, nonce, head).encrypt(content));
	if (file.length + sumSize > maxBackup) {
		throw new BackupError('too-large', `the file would be of ${file.length} bytes, at most ${maxBackup}`);
	}
	return concat(file, sha256(file));
}

/** Undoes {@link sealBackup}. Rejects with a BackupError, whatever the bytes are. */
export async function openBackup(file: Uint8Array, passphrase: string): Promise<Uint8Array> {
	if (file.length > maxBackup) {
		throw new BackupError('too-large', `the file is of ${file.length} bytes, at most ${maxBackup}`);
	}
	if (!equal(file.subarray(0, magic.length), magic)) {
		throw new BackupError('not-ours', 'this is not a file that was exported here');
	}
	if ((file[magic.length] ?? 0) > version) {
		throw new BackupError('later-version', 'the file is of a later version of the app: take that one');
	}
	const end = file.length - sumSize;
	const log = file[magic.length + 1] ?? 0;
	const whole = end >= headSize + nonceSize + tagSize && file[magic.length] === version && log > 0 && log <= maxLogN;
	if (!whole || !equal(sha256(file.subarray(0, end)), file.subarray(end))) {
		throw new BackupError('damaged', 'the file is damaged, or not all of it is there: take another copy of it');
	}
	const head = file.subarray(0, headSize);
	const nonce = file.subarray(headSize, headSize + nonceSize);
	const key = await keyOf(passphrase, head.subarray(headSize - saltSize), log);
	try {
		return xchacha20poly1305(key, nonce, head).decrypt(file.subarray(headSize + nonceSize, end));
	} catch {
		throw new BackupError('passphrase', 'the passphrase is not that of this file');
	}
}
