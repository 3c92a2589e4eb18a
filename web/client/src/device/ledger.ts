import { concat, equal } from '../bytes.js';
import { isProtocolError } from '../errors.js';
import { chainNext, ledgerId, ledgerTopics, topicLeaves, topicSalt } from '../push/ledger.js';
import { ledgerSecretSize } from '../push/limits.js';
import { Mode } from '../push/parts.js';
import { type Ledger } from '../push/reply.js';
import { Envelope } from '../whisper/envelope.js';
import { type PublicKey } from '../whisper/keys.js';
import { type Topic } from '../whisper/topic.js';
import { channelsOf, type Chat } from './chat.js';
import { type Evidence, isOneLedger, type SignedHead, type SignedPage, whyUnproved } from './evidence.js';

/** Heads that are kept besides the one that the hashes begin behind, and those hashes. What is beyond cannot be proved any more. */
const maxHeads = 8;
const maxEntered = 512;
/** Envelopes that the mailserver has sent and its ledger does not have yet, and the bytes of one. */
const maxDoubts = 16;
const maxDoubtful = 64 << 10;

/**
 * What a device keeps of the server's ledger of what it owes it: enough to convict a server that
 * withholds what an answer to a history shows that it has.
 */
export interface LedgerState {
	secret: Uint8Array;
	/** That it is about; none: they are not those that were asked for. */
	topics: Topic[];
	/** The hashes begin behind it; undefined: with the ledger. */
	base: SignedHead | undefined;
	/** Newer ones, the oldest first; the last is the newest, and there is one. */
	heads: SignedHead[];
	/** From `base` to the last of `heads`. */
	hashes: Uint8Array[];
	/** Oldest first: envelopes that are in the archive by the mailserver's word, and that the ledger does not have yet. */
	doubts: { readonly page: SignedPage; readonly envelope: Uint8Array }[];
}

/** What a reply with a head amounts to. */
export interface Told {
	/** What is kept from now on. */
	readonly state: LedgerState;
	/** Doubts that ended without a proof. */
	readonly unproved: number;
	/** What convicts the server; undefined: nothing does. */
	readonly evidence: Evidence | undefined;
}

export const newestOf = (l: LedgerState): SignedHead => l.heads.at(-1)!;

// How many hashes of the ledger are before those that are kept.
const countBefore = (l: LedgerState): bigint => newestOf(l).count - BigInt(l.hashes.length);

/** Tells whether what was read of a store can be used. */
export function isSound(l: LedgerState): boolean {
	if (l.heads.length === 0 || l.heads.length > maxHeads || l.hashes.length > maxEntered || l.doubts.length > maxDoubts || l.secret.length !== ledgerSecretSize) {
		return false;
	}
	let count = countBefore(l);
	return l.heads.every((h) => h.count >= count && ((count = h.count), true)) && count >= 0n && countBefore(l) >= 0n;
}

/** The head of a ledger, without what belongs to the reply alone. */
export const headOf = ({ secret: _, told: __, ...head }: Ledger): SignedHead => ({
	...head, log: head.log.slice(), topics: head.topics.slice(), chain: head.chain.slice(), signature: head.signature.slice(),
});

const isLed = (value: Uint8Array, hashes: readonly Uint8Array[], to: Uint8Array): boolean => equal(hashes.reduce(chainNext, value), to);

/** Takes a head that the server signed. `read` is the sequence up to which the history was read in the head's log. */
export function takeHead(before: LedgerState | undefined, told: Ledger, chats: readonly Chat[], pushKey: PublicKey, read: bigint): Told {
	const head = headOf(told);
	if (!before || !equal(before.secret, told.secret)) {
		return { state: begin(told, head, chats), unproved: before?.doubts.length ?? 0, evidence: undefined };
	}
	let unproved = 0;
	let state = extended(before, told, head);
	if (!state) { // they do not go on from each other: nothing before the newest can be proved
		state = { ...begin(told, head, chats), base: head, hashes: [] };
	}
	if (state.base === head) {
		unproved = before.doubts.length;
	}
	const evidence = settle(state, pushKey);
	forget(state, read);
	return { state, unproved, evidence };
}

// The state of a ledger that the device has seen nothing of before.
function begin(told: Ledger, head: SignedHead, chats: readonly Chat[]): LedgerState {
	const topics = channelsOf(chats).filter((c) => c.mode === Mode.every && c.mutedUntil === 0n).map((c) => c.topic);
	const about = equal(ledgerTopics(topicLeaves(told.secret, topics)), head.topics) ? topics : [];
	const hashes = told.told.map((h) => h.slice());
	const whole = isLed(ledgerId(told.secret), hashes, head.chain); // else there were more before
	return { secret: told.secret.slice(), topics: about, base: whole ? undefined : head, heads: [head], hashes: whole ? hashes : [], doubts: [] };
}

// Goes on to a head of the same ledger; undefined: that does not go on from the one before.
function extended(l: LedgerState, told: Ledger, head: SignedHead): LedgerState | undefined {
	const last = newestOf(l);
	if (head.count < last.count || head.through < last.through || !isOneLedger(head, last)) {
		return undefined;
	}
	const more = head.count - last.count;
	if (more > BigInt(told.told.length)) { // more than is told at once
		return { ...l, base: head, heads: [head], hashes: [], doubts: [] };
	}
	const fresh = told.told.slice(told.told.length - Number(more)).map((h) => h.slice());
	if (!isLed(last.chain, fresh, head.chain)) {
		return undefined;
	}
	return { ...l, hashes: [...l.hashes, ...fresh], heads: [...l.heads.slice(l.heads.length === maxHeads ? 1 : 0), head], doubts: [...l.doubts] };
}

/** Keeps what a page has that the ledger does not. */
export function doubt(l: LedgerState, page: SignedPage, envelopes: readonly Envelope[]): void {
	if (page.after < (l.base?.through ?? newestOf(l).since)) {
		return; // what is older is not proved any more
	}
	for (const e of envelopes) {
		const listed = l.topics.some((t) => equal(t, e.topic));
		if (listed && e.raw.length <= maxDoubtful && !l.hashes.some((h) => equal(h, e.hash))) {
			l.doubts = [...l.doubts, { page, envelope: e.raw.slice() }].slice(-maxDoubts);
		}
	}
}

// Drops the doubts that the newest head ends, and returns the evidence if one of them convicts the server.
function settle(l: LedgerState, pushKey: PublicKey): Evidence | undefined {
	let proof: Evidence | undefined;
	l.doubts = l.doubts.filter(({ page, envelope }) => {
		const e = decoded(envelope);
		if (!e || l.hashes.some((h) => equal(h, e.hash))) {
			return false;
		}
		if (page.upTo > newestOf(l).through) {
			return true;
		}
		const found: Evidence = {
			pushKey, successions: [], ledger: ledgerId(l.secret), leaves: topicLeaves(l.secret, l.topics), salt: topicSalt(l.secret, e.topic), before: l.base,
			hashes: [...l.hashes], after: newestOf(l), page, envelope,
		};
		if (whyUnproved(found) === undefined) {
			proof = found;
		}
		return false;
	});
	return proof;
}

function decoded(envelope: Uint8Array): Envelope | undefined {
	try {
		return Envelope.decode(concat(envelope));
	} catch (error) {
		if (isProtocolError(error)) {
			return undefined;
		}
		throw error;
	}
}

// Moves the base as far as the history was read, as long as no doubt needs it, and further if too many hashes are kept.
function forget(l: LedgerState, read: bigint): void {
	for (const { page } of l.doubts) {
		read = page.after < read ? page.after : read;
	}
	while (l.heads.length > 1 && (l.heads[0]!.through <= read || l.hashes.length > maxEntered)) {
		l.hashes = l.hashes.slice(Number(l.heads[0]!.count - countBefore(l)));
		l.base = l.heads.shift();
	}
	if (l.hashes.length > maxEntered) {
		[l.base, l.hashes, l.doubts] = [newestOf(l), [], []];
	}
}
