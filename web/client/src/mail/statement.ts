import { sha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { bigEndian, concat, utf8 } from '../bytes.js';
import { type PublicKey } from '../whisper/keys.js';
import { isSigned } from '../whisper/keys.js';

/** What the proof of an end mark signs: these hashes are in a log, behind one sequence and not behind another. */
export interface Statement {
	/** 16 bytes. */
	readonly log: Uint8Array;
	/** Receive sequences, exclusive … */
	readonly after: bigint;
	/** … and inclusive. */
	readonly upTo: bigint;
	/** Unix milliseconds. */
	readonly at: bigint;
	readonly hashes: readonly Uint8Array[];
}

/** Tells whether a key signed a statement: Keccak-256("whisperpush/2 mail" ‖ log ‖ after 8 ‖ up to 8 ‖ at 8 ‖ SHA-256(hash ‖ …)). */
export function isStatementSigned(s: Statement, key: PublicKey, signature: Uint8Array): boolean {
	const sent = sha256(concat(...s.hashes));
	return isSigned(keccak_256(concat(utf8('whisperpush/2 mail'), s.log, bigEndian(s.after, 8), bigEndian(s.upTo, 8), bigEndian(s.at, 8), sent)), key, signature);
}
