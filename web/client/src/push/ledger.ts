import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { concat, hex, utf8 } from '../bytes.js';
import * as rlp from '../rlp.js';
import { isSigned, type PublicKey } from '../whisper/keys.js';
import { type Topic } from '../whisper/topic.js';
import { type Ledger } from './reply.js';

// A server keeps a ledger of a registration: a hash chain over the envelopes that it matched for
// it, and a signed head of that chain with each reply. docs/privacy.md tells what that proves.
const ledgerDomain = utf8('whisperpush/2 ledger');
const topicsDomain = utf8('whisperpush/2 ledger topics');

/** What a server signs of a ledger. */
export type Head = Omit<Ledger, 'secret' | 'signature' | 'told'>;

/** Names a ledger, and is the value of its chain before its first hash: SHA-256("whisperpush/2 ledger" ‖ secret). */
export const ledgerId = (secret: Uint8Array): Uint8Array => sha256(concat(ledgerDomain, secret));

/** The value of a ledger's chain behind a hash: SHA-256(value ‖ hash). */
export const chainNext = (value: Uint8Array, hash: Uint8Array): Uint8Array => sha256(concat(value, hash));

/** What hides a topic in a ledger's commitment from everybody who does not know its secret: HMAC-SHA256(key = secret, topic). */
export const topicSalt = (secret: Uint8Array, topic: Topic): Uint8Array => hmac(sha256, secret, topic);

/** Commits to a topic: SHA-256(salt ‖ topic). */
export const topicLeaf = (salt: Uint8Array, topic: Topic): Uint8Array => sha256(concat(salt, topic));

/** Those of topics, ascending. */
export const topicLeaves = (secret: Uint8Array, topics: readonly Topic[]): Uint8Array[] =>
	topics.map((t) => topicLeaf(topicSalt(secret, t), t)).sort((a, b) => (hex(a) < hex(b) ? -1 : 1));

/** Commits to the topics of leaves, in their order: SHA-256("whisperpush/2 ledger topics" ‖ leaf ‖ …). */
export const ledgerTopics = (leaves: readonly Uint8Array[]): Uint8Array => sha256(concat(topicsDomain, ...leaves));

/** Tells whether a push key signed a head, of the ledger with an id. */
export function isHeadSigned(h: Head, id: Uint8Array, pushKey: PublicKey, signature: Uint8Array): boolean {
	const list = rlp.list([
		rlp.string(id), rlp.string(h.log), rlp.uint(h.since), rlp.uint(h.begun), rlp.string(h.topics), rlp.uint(h.through), rlp.uint(h.at), rlp.uint(h.count),
		rlp.string(h.chain),
	]);
	return isSigned(keccak_256(concat(ledgerDomain, list)), pushKey, signature);
}
