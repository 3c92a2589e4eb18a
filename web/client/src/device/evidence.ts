import { equal, fromHex, hex0x } from '../bytes.js';
import { isProtocolError } from '../errors.js';
import { isStatementSigned } from '../mail/statement.js';
import { chainNext, type Head, isHeadSigned, ledgerTopics, topicLeaf } from '../push/ledger.js';
import { maxLogId, pushKeySize } from '../push/limits.js';
import { decodeSuccession, encodeSuccession, type Succession, verifySuccession } from '../push/succession.js';
import { Envelope } from '../whisper/envelope.js';
import { type PublicKey } from '../whisper/keys.js';

/** The longest file, in characters. */
const maxSize = 8 << 20;
/** How many hashes may lie between two heads, and how many topics a ledger may be about. */
const maxHashes = 1 << 16;
const maxSuccessions = 8;

/** A head of a ledger, signed. */
export interface SignedHead extends Head {
	readonly signature: Uint8Array;
}

/** An answer to a request for mail, signed. */
export interface SignedPage {
	readonly log: Uint8Array;
	readonly after: bigint;
	readonly upTo: bigint;
	/** Unix milliseconds. */
	readonly at: bigint;
	readonly hashes: readonly Uint8Array[];
	readonly signature: Uint8Array;
}

/**
 * What convicts a mailserver that withheld a wake-up, for anybody to verify from bytes alone: two heads of one
 * ledger, or one of a ledger from its beginning, between which lie exactly these hashes; an
 * end mark by which the envelope is in the archive's log, in a range of which the heads say that all that
 * matched is in the ledger; and the envelope, on a topic that the ledger is about, which is not among the hashes.
 */
export interface Evidence {
	/** Of the server, compressed: who is convicted. */
	readonly pushKey: PublicKey;
	/** What led to it, oldest first; none: all is signed by that key alone. */
	readonly successions: readonly Succession[];
	/** Its id. */
	readonly ledger: Uint8Array;
	/** Of its topics, ascending. */
	readonly leaves: readonly Uint8Array[];
	/** Of the envelope's topic. */
	readonly salt: Uint8Array;
	/** Undefined: the ledger's beginning. */
	readonly before: SignedHead | undefined;
	/** That the ledger has between `before` and `after`. */
	readonly hashes: readonly Uint8Array[];
	readonly after: SignedHead;
	readonly page: SignedPage;
	/** As it was archived, its RLP. */
	readonly envelope: Uint8Array;
}

/** Why evidence convicts nobody; undefined: the server with its push key is convicted. Whether that key is the server's, its offer tells. */
export function whyUnproved(e: Evidence): string | undefined {
	if (e.pushKey.length !== pushKeySize) {
		return `push key of ${e.pushKey.length} bytes, not ${pushKeySize}`;
	}
	if (e.successions.length > maxSuccessions || [e.hashes, e.leaves, e.page.hashes].some((l) => l.length > maxHashes)) {
		return 'it has more than the limits allow';
	}
	const follows = e.successions.every((s, i) => equal(s.next, e.successions[i + 1]?.former ?? e.pushKey) && verifySuccession(s));
	if (!follows) {
		return 'the push keys do not follow each other';
	}
	const signed = (at: bigint, by: (key: PublicKey) => boolean): boolean => by(e.pushKey) || e.successions.some((s) => at / 1000n <= s.until && by(s.former));
	return ledgerFault(e, signed) ?? pageFault(e, signed);
}

type Signed = (at: bigint, by: (key: PublicKey) => boolean) => boolean;

// Checks the heads, and that the hashes lie between them.
function ledgerFault({ after, before, ledger, hashes, leaves }: Evidence, signed: Signed): string | undefined {
	const isSigned = (h: SignedHead): boolean => h.log.length <= maxLogId && signed(h.at, (key) => isHeadSigned(h, ledger, key, h.signature));
	if (!isSigned(after)) {
		return 'the later head is not signed by the push key';
	}
	if (before && !isSigned(before)) {
		return 'the earlier head is not signed by the push key';
	}
	if (before && !isOneLedger(before, after)) {
		return 'the heads are not of one ledger';
	}
	const value = hashes.reduce(chainNext, before?.chain ?? ledger);
	if ((before?.count ?? 0n) + BigInt(hashes.length) !== after.count || !equal(value, after.chain)) {
		return 'the hashes do not lead to the later head';
	}
	return equal(ledgerTopics(leaves), after.topics) ? undefined : 'the topics are not those of the ledger';
}

/** Whether two heads are of one ledger. */
export const isOneLedger = (a: Head, b: Head): boolean =>
	equal(a.log, b.log) && a.since === b.since && a.begun === b.begun && equal(a.topics, b.topics);

// Checks that the envelope is in the log between the heads, and not told.
function pageFault(e: Evidence, signed: Signed): string | undefined {
	let envelope: Envelope;
	try {
		envelope = Envelope.decode(e.envelope);
	} catch (error) {
		if (isProtocolError(error)) {
			return `the envelope: ${error.message}`;
		}
		throw error;
	}
	const leaf = topicLeaf(e.salt, envelope.topic);
	if (!e.leaves.some((l) => equal(l, leaf))) {
		return 'the ledger is not about the envelope\'s topic';
	}
	if (e.hashes.some((h) => equal(h, envelope.hash))) {
		return 'the server told of the envelope';
	}
	const { page, after, before } = e;
	if (!isPageSigned(page, (by) => signed(page.at, by))) {
		return 'the answer is not signed by the push key';
	}
	if (!page.hashes.some((h) => equal(h, envelope.hash))) {
		return 'the answer does not have the envelope';
	}
	if (!equal(page.log, after.log)) {
		return 'the answer is of another log than the ledger';
	}
	if (page.after < (before?.through ?? after.since) || page.upTo > after.through) {
		return 'the envelope is not in the range of the log that the heads are about';
	}
	// Of another state of the log, perhaps, before or after it was restored.
	return page.at < after.begun || page.at > after.at ? 'the answer was not signed between the beginning of the ledger and the later head' : undefined;
}

/** Whether one of some keys signed an answer. */
export const isPageSigned = (page: SignedPage, any: (by: (key: PublicKey) => boolean) => boolean): boolean =>
	page.log.length === maxLogId && any((key) => isStatementSigned(page, key, page.signature));

/** Returns the file, in JSON, as the Go SDK and `wnode verify` read it. */
export function encodeEvidence(e: Evidence): string {
	const value = { ...e, ...(e.successions.length > 0 ? { successions: e.successions.map(encodeSuccession) } : { successions: undefined }) };
	const text = JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? `\u0000${v}` : v instanceof Uint8Array ? hex0x(v) : v), '\t');
	return text.replace(/"\\u0000(\d+)"/g, '$1');
}

/** Reads such a file. It proves nothing before {@link whyUnproved}. Throws a TypeError for what is none. */
export function decodeEvidence(file: string): Evidence {
	if (file.length > maxSize) {
		throw new TypeError(`a file of ${file.length} characters, at most ${maxSize}`);
	}
	try {
		const v = new Fields(JSON.parse(file), 'the file');
		return {
			pushKey: v.bytes('pushKey'), successions: v.list('successions', true).map((s) => decodeSuccession(bytesOf(s))), ledger: v.hash('ledger'),
			leaves: v.hashes('leaves'), salt: v.hash('salt'), before: v.has('before') ? headOf(v.fields('before')) : undefined, hashes: v.hashes('hashes'),
			after: headOf(v.fields('after')), page: pageOf(v.fields('page')), envelope: v.bytes('envelope'),
		};
	} catch (error) {
		throw new TypeError(`this is no file of evidence: ${(error as Error).message}`, { cause: error });
	}
}

const headOf = (v: Fields): SignedHead => ({
	log: v.bytes('log'), since: v.uint('since'), begun: v.uint('begun'), topics: v.hash('topics'), through: v.uint('through'), at: v.uint('at'), count: v.uint('count'),
	chain: v.hash('chain'), signature: v.bytes('signature'),
});

const pageOf = (v: Fields): SignedPage => ({
	log: v.bytes('log'), after: v.uint('after'), upTo: v.uint('upTo'), at: v.uint('at'), hashes: v.hashes('hashes'), signature: v.bytes('signature'),
});

function bytesOf(value: unknown): Uint8Array {
	if (typeof value !== 'string' || !value.startsWith('0x')) {
		throw new TypeError('a text that is not hexadecimal');
	}
	return fromHex(value);
}

// The members of an object, each of which is checked.
class Fields {
	readonly #value: Record<string, unknown>;

	constructor(value: unknown, what: string) {
		if (typeof value !== 'object' || value === null) {
			throw new TypeError(`${what} is no object`);
		}
		this.#value = value as Record<string, unknown>;
	}

	has(name: string): boolean {
		return (this.#value[name] ?? undefined) !== undefined;
	}

	bytes(name: string): Uint8Array {
		return bytesOf(this.#value[name]);
	}

	hash(name: string): Uint8Array {
		return hashIn(this.#value[name]);
	}

	hashes(name: string): Uint8Array[] {
		return this.list(name, true).map(hashIn);
	}

	fields(name: string): Fields {
		return new Fields(this.#value[name], name);
	}

	list(name: string, mayLack = false): unknown[] {
		const value = this.#value[name] ?? (mayLack ? [] : undefined);
		if (!Array.isArray(value)) {
			throw new TypeError(`${name} is no list`);
		}
		return value;
	}

	// A greater number would not be read as it is, and no log comes so far.
	uint(name: string): bigint {
		const value = this.#value[name];
		if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
			throw new TypeError(`${name} is no number, or too great a one`);
		}
		return BigInt(value);
	}
}

function hashIn(value: unknown): Uint8Array {
	const bytes = bytesOf(value);
	if (bytes.length !== 32) {
		throw new TypeError(`hash of ${bytes.length} bytes`);
	}
	return bytes;
}
