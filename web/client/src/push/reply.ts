import { empty, equal, text, utf8 } from '../bytes.js';
import { malformed, type ProtocolError } from '../errors.js';
import { Reader } from '../reader.js';
import * as rlp from '../rlp.js';
import { hashSize, idSize, ledgerSecretSize, maxBody, maxFetch, maxHeldRevoked, maxLogId, maxProviderName, maxRoutes, maxText, maxTold, protocolVersion, pushKeySize, signatureSize } from './limits.js';
import {
	type Channel,
	checkLength,
	checkVersion,
	encodeChannels,
	encodeHashes,
	encodeHolders,
	encodeLimits,
	encodeMessage,
	type Limits,
	Mode,
	readChannels,
	readHashes,
	readHolders,
	readLimits,
} from './parts.js';
import { encodeSuccessions, readSuccessions, type Succession } from './succession.js';

/** The result of a request. A code that is not here is a refusal. */
export const Code = {
	/** Done. */
	ok: 0,
	/** The bytes cannot be read; do not repeat them. */
	malformed: 1,
	/** Another version of the protocol. */
	badVersion: 2,
	/** A kind of request that this server does not know. */
	unsupported: 3,
	/** Issued too far from the server's time, which the body tells. */
	clock: 4,
	/** The id was used before; ask again with a new one. */
	replayed: 5,
	/** The version is not greater than the one held, which the body tells. */
	stale: 6,
	/** Only after Confirm. */
	unconfirmed: 7,
	/** The code is wrong or too old; register again for a new one. */
	wrongCode: 8,
	/** The server has no provider of that name. */
	unknownProvider: 9,
	/** The provider refuses the form of an address or its keys. */
	badAddress: 10,
	/** Too many of something, see text and limits. */
	limit: 11,
	/** Too much work at the moment; repeat later, with a new id. */
	busy: 12,
	/** No registration under this key. */
	notRegistered: 13,
	/** The operator has switched this off. */
	disabled: 14,
	/** The server's fault, for instance a full disk; repeat later, with a new id. */
	internal: 15,
	/** More proof of work is needed, see limits. */
	work: 16,
	/** The request names another server's push key. */
	wrongServer: 17,
	/** Only with a voucher that is good, see the text and the server's offer. */
	unpaid: 18,
	/** The server has another push key, see `Reply.successions`, or ask who runs it if there are none. */
	retired: 19,
} as const;

const codeNames = [
	'ok', 'malformed', 'bad_version', 'unsupported', 'clock', 'replayed', 'stale', 'unconfirmed', 'wrong_code',
	'unknown_provider', 'bad_address', 'limit', 'busy', 'not_registered', 'disabled', 'internal', 'work', 'wrong_server',
	'unpaid', 'retired',
];

/** Returns a code's name, such as `bad_address`. */
export const codeName = (code: number): string => codeNames[code] ?? `code_${code}`;

/** Returns the code to refuse a request with that `decodeRequest` or `openRequest` threw an error for. */
export function codeFor(error: ProtocolError): number {
	switch (error.code) {
		case 'version':
			return Code.badVersion;
		case 'unsupported':
			return Code.unsupported;
		case 'too-large':
			return Code.limit;
		case 'server':
			return Code.wrongServer;
		default:
			return Code.malformed;
	}
}

/** What has become of a registration. */
export const State = {
	/** There is none. */
	none: 0,
	/** No route is confirmed: nothing is sent but challenges. */
	waiting: 1,
	/** Confirmed: it is woken. */
	active: 2,
	/** Every route was given up, the reason says why; register again. */
	dead: 3,
	/** Its lifetime is over; register again. */
	expired: 4,
	/** Unregistered by the device. */
	terminated: 5,
} as const;

/** Returns a state's name, such as `active`. */
export const stateName = (state: number): string =>
	(['none', 'waiting', 'active', 'dead', 'expired', 'terminated'] as const)[state] ?? `state_${state}`;

/** Where a device and the server are. All is zero from servers of before 2027. */
export interface Standing {
	/** The server's time, Unix milliseconds: by it a device begins its history, whatever its own clock says. */
	readonly now: bigint;
	/** Names the registration's sequence of wake-ups. A new registration under the same key has another one. */
	readonly epoch: bigint;
	/** The identity of the archive's log, at most 16 bytes: cursors of another log mean nothing to it. */
	readonly log: Uint8Array;
}

/** Answers Register, Confirm, Channels and Unregister, and goes with refusals for which it is of use. */
export interface RegisterReply extends Standing {
	readonly kind: 'register';
	/** That the server holds now. */
	readonly version: bigint;
	/** When the registration ends, Unix seconds. */
	readonly expires: bigint;
	/** A challenge is on its way to at least one address. */
	readonly challenged: boolean;
	readonly limits: Limits;
}

/** What the server holds about a route. It does not repeat the address. */
export interface RouteStatus {
	readonly provider: string;
	/** Waiting, active or dead, see {@link State}. */
	readonly state: number;
	/** Why it is dead, or in doubt. */
	readonly reason: string;
	/** Since when the push service says that the address is gone and the server does not yet believe it, Unix seconds; 0: it does not say so. */
	readonly doubt: bigint;
}

/** Answers Status. */
export interface StatusReply extends Standing {
	readonly kind: 'status';
	readonly version: bigint;
	/** Unix seconds. */
	readonly expires: bigint;
	/** Sequence number of the newest wake-up. */
	readonly seq: bigint;
	readonly plain: boolean;
	readonly routes: readonly RouteStatus[];
	readonly channels: readonly Channel[];
	readonly revoked: readonly string[];
	readonly limits: Limits;
	/** Answers `Status.detail`; undefined: it was not asked for, or the server does not know it. */
	readonly delivery?: Delivery | undefined;
}

/** How wake-ups get through. */
export interface Delivery {
	/** When the device last fetched, Unix seconds; 0: not that the server remembers. */
	readonly fetched: bigint;
	/** Left alone until it fetches or registers. */
	readonly silenced: boolean;
	/** Envelopes that it has not fetched. */
	readonly unread: bigint;
	/** Of those, covered by no wake-up that was accepted. */
	readonly pending: bigint;
	/** How often it may ask for test pushes now. */
	readonly tests: bigint;
	/** In the order of the routes of the reply. */
	readonly routes: readonly RouteDelivery[];
}

/** How wake-ups get through by one route. */
export interface RouteDelivery {
	/** When the push service last accepted a wake-up for the device, Unix seconds; 0: not that the server remembers. */
	readonly accepted: bigint;
	/** Wake-ups that may go at once. */
	readonly budget: bigint;
	/** When the latest test push was asked for, Unix seconds; 0: none was lately. */
	readonly tested: bigint;
	/** Of that, see {@link Outcome}. */
	readonly outcome: number;
	/** Of the push service or the server, where it did not accept it. */
	readonly reason: string;
}

/** What became of a test push. */
export const Outcome = {
	/** None was asked for lately. */
	none: 0,
	/** It is on its way to the push service. */
	waiting: 1,
	/** The push service accepted it. */
	accepted: 2,
	/** The push service did not accept it. */
	failed: 3,
	/** It was not sent, as the device was sent as much as the push service allows. */
	held: 4,
} as const;

/** Follows the envelopes of a Fetch. Every hash asked for is in one of the first three. */
export interface FetchReply {
	readonly kind: 'fetch';
	/** Delivered just before. */
	readonly sent: readonly Uint8Array[];
	/** Not in the archive, never or no longer. */
	readonly missing: readonly Uint8Array[];
	/** More than one answer carries: ask again, and learn whether they are there. */
	readonly later: readonly Uint8Array[];
	/** Answers `Fetch.owed`; undefined: it was not asked for, or the server does not know it. */
	readonly owed?: Owed | undefined;
}

/** What a server owes a device besides envelopes. */
export interface Owed {
	/**
	 * Envelopes whose notifications are to be removed, as they were seen on another device,
	 * the oldest first; at most 64. They are repeated until `Fetch.owed` names them.
	 */
	readonly dismissed: readonly Uint8Array[];
}

/** Goes with the code `clock`. */
export interface ClockReply {
	readonly kind: 'clock';
	/** The server's time, Unix milliseconds. */
	readonly now: bigint;
}

/** A wake-up over the device's own link instead of a push service. It answers no request. */
export interface Ring {
	readonly kind: 'ring';
	/** What a push service would have carried; at most 4096 bytes. */
	readonly body: Uint8Array;
}

/** The body of a reply; `kind` tells which. */
export type ReplyBody = RegisterReply | StatusReply | FetchReply | ClockReply | Ring;

/**
 * A signed head of what the server has matched for the registration, and the end of its
 * chain. `isHeadSigned` checks the signature.
 */
export interface Ledger {
	/** 16 bytes. */
	readonly secret: Uint8Array;
	/** The identity of the archive's log, at most 16 bytes. */
	readonly log: Uint8Array;
	/** The sequence behind which the ledger begins. */
	readonly since: bigint;
	/** Unix milliseconds. */
	readonly begun: bigint;
	/** Commits to the topics that it is about, 32 bytes. */
	readonly topics: Uint8Array;
	/** Up to this sequence all is in the chain. */
	readonly through: bigint;
	/** Unix milliseconds. */
	readonly at: bigint;
	/** Hashes in the chain. */
	readonly count: bigint;
	/** Its value behind them, 32 bytes. */
	readonly chain: Uint8Array;
	/** By the push key, 64 bytes. */
	readonly signature: Uint8Array;
	/** The last hashes of the chain, at most 64. */
	readonly told: readonly Uint8Array[];
}

/** Answers a request: RLP [version, id, code, text, state, reason, kind, body, to, ledger, successions]. */
export interface Reply {
	/** Of the request, 16 bytes; zeros if it could not be read. */
	readonly id: Uint8Array;
	/** See {@link Code}. */
	readonly code: number;
	/** A sentence for people, if the code is not `ok`. */
	readonly text: string;
	/** That of the asker's registration, in every reply, see {@link State}. */
	readonly state: number;
	/** Why it is in that state. */
	readonly reason: string;
	readonly body: ReplyBody | undefined;
	/** The registration key that the reply is for; `sealReply` fills it in. None from servers of before 2027. */
	readonly to: Uint8Array;
	/** Answers `Request.ledger`; undefined: it was not asked for, or there is none now. */
	readonly ledger?: Ledger | undefined;
	/**
	 * Lead from the push key that the request was made for, or one before it, to the one that
	 * the server has now, oldest first, while the server answers to a former one; see `follow`.
	 * A device goes on with the last.
	 */
	readonly successions?: readonly Succession[] | undefined;
}

const numbers = { register: 1, status: 2, fetch: 3, clock: 4, ring: 5 } as const;
const kinds = new Map(Object.entries(numbers).map(([kind, n]) => [BigInt(n), kind as ReplyBody['kind']]));

/** Returns the payload of a reply's message. Text and reason are cut to 256 bytes. */
export function encodeReply(reply: Reply): Uint8Array {
	const successions = reply.successions ?? [];
	return encodeMessage([
		rlp.uint(protocolVersion),
		rlp.string(reply.id),
		rlp.uint(reply.code),
		rlp.string(clip(reply.text)),
		rlp.uint(reply.state),
		rlp.string(clip(reply.reason)),
		rlp.uint(reply.body ? numbers[reply.body.kind] : 0),
		rlp.list(reply.body ? encodeBody(reply.body) : []),
		...(reply.to.length > 0 || reply.ledger || successions.length > 0 ? [rlp.string(reply.to)] : []),
		...(reply.ledger || successions.length > 0 ? [encodeLedger(reply.ledger ?? noLedger, reply.body)] : []),
		...(successions.length > 0 ? [encodeSuccessions(successions)] : []),
	]);
}

// A character that the cut goes through is left out.
function clip(sentence: string): Uint8Array {
	const bytes = utf8(sentence);
	let size = Math.min(bytes.length, maxText);
	while (size < bytes.length && (bytes[size]! & 0xc0) === 0x80) {
		size--;
	}
	return bytes.subarray(0, size);
}

/**
 * Reads the payload of a reply's message. Throws a ProtocolError, `malformed`, `version`
 * or `too-large`. A body of a kind that is not known here is left out.
 */
export function decodeReply(bytes: Uint8Array): Reply {
	checkLength(bytes, 'reply');
	const r = Reader.open(bytes, 'reply', true);
	checkVersion(r.uint('version'));
	const id = r.fixed('request id', idSize);
	const code = r.small('code', 0xff);
	const sentence = text(r.bytes('text', maxText));
	const state = r.small('state', 0xff);
	const reason = text(r.bytes('reason', maxText));
	const kind = kinds.get(r.uint('body kind'));
	const inner = r.list('body');
	const body = kind && decodeBody(kind, inner);
	const to = r.maybe('receiver', pushKeySize);
	const ledger = r.more ? readLedger(r.list('ledger'), body) : undefined;
	const successions = readSuccessions(r);
	return {
		id, code, text: sentence, state, reason, body, to,
		...(ledger && !absent(ledger) ? { ledger } : {}),
		...(successions.length > 0 ? { successions } : {}),
	};
}

// Stands where a reply has no ledger and goes on behind it.
const noLedger: Ledger = {
	secret: new Uint8Array(ledgerSecretSize), log: empty, since: 0n, begun: 0n, topics: new Uint8Array(hashSize), through: 0n, at: 0n, count: 0n,
	chain: new Uint8Array(hashSize), signature: new Uint8Array(signatureSize), told: [],
};

const absent = (l: Ledger): boolean => equal(l.secret, noLedger.secret) && equal(l.signature, noLedger.signature);

// The hashes of a body that a ledger refers to by their number.
const named = (body: ReplyBody | undefined): readonly Uint8Array[] =>
	body?.kind === 'fetch' ? [...body.sent, ...body.missing, ...body.later] : [];

function encodeLedger(l: Ledger, body: ReplyBody | undefined): Uint8Array {
	const hashes = named(body);
	return rlp.list([
		rlp.string(l.secret),
		rlp.string(l.log),
		rlp.uint(l.since),
		rlp.uint(l.begun),
		rlp.string(l.topics),
		rlp.uint(l.through),
		rlp.uint(l.at),
		rlp.uint(l.count),
		rlp.string(l.chain),
		rlp.string(l.signature),
		rlp.list(
			l.told.map((hash) => {
				const at = hashes.findIndex((one) => equal(one, hash));
				return at >= 0 ? rlp.uint(at) : rlp.string(hash);
			}),
		),
	]);
}

function readTold(r: Reader, hashes: readonly Uint8Array[]): Uint8Array {
	const bytes = r.bytes('hash', hashSize);
	if (bytes.length === hashSize) {
		return bytes;
	}
	if (bytes.length > 1 || bytes[0] === 0) {
		throw malformed(`hash of ${bytes.length} bytes is neither one nor a number`);
	}
	const hash = hashes[bytes[0] ?? 0];
	if (hash === undefined) {
		throw malformed(`hash ${bytes[0] ?? 0} of the ${hashes.length} in the body`);
	}
	return hash;
}

function readLedger(r: Reader, body: ReplyBody | undefined): Ledger {
	const hashes = named(body);
	const ledger = {
		secret: r.fixed('secret of a ledger', ledgerSecretSize),
		log: r.bytes('log', maxLogId),
		since: r.uint('since'),
		begun: r.uint('begun'),
		topics: r.fixed('topics', hashSize),
		through: r.uint('through'),
		at: r.uint('at'),
		count: r.uint('count'),
		chain: r.fixed('chain', hashSize),
		signature: r.fixed('signature', signatureSize),
		told: r.items('hashes', maxTold, (list) => readTold(list, hashes)),
	};
	if (BigInt(ledger.told.length) > ledger.count) {
		throw malformed(`ledger of ${ledger.count} hashes tells ${ledger.told.length}`);
	}
	return ledger;
}

/** The reply to no request in particular: zeros and nothing. */
export const emptyReply: Reply = {
	id: new Uint8Array(idSize), code: Code.ok, text: '', state: State.none, reason: '', body: undefined, to: empty,
};

// What was added to a list at its end is left out where it says nothing, as an older
// sender leaves it out.
const encodeStanding = (s: Standing, more = false): Uint8Array[] =>
	more || s.now !== 0n || s.epoch !== 0n || s.log.length > 0 ? [rlp.uint(s.now), rlp.uint(s.epoch), rlp.string(s.log)] : [];

const readStanding = (r: Reader): Standing => ({ now: r.uint('now'), epoch: r.uint('epoch'), log: r.bytes('log', maxLogId) });

function encodeBody(b: ReplyBody): Uint8Array[] {
	switch (b.kind) {
		case 'register':
			return [rlp.uint(b.version), rlp.uint(b.expires), rlp.uint(b.challenged ? 1 : 0), encodeLimits(b.limits), ...encodeStanding(b)];
		case 'status':
			return [
				rlp.uint(b.version),
				rlp.uint(b.expires),
				rlp.uint(b.seq),
				rlp.uint(b.plain ? 1 : 0),
				rlp.list(
					b.routes.map((route) =>
						rlp.list([
							rlp.string(utf8(route.provider)),
							rlp.uint(route.state),
							rlp.string(utf8(route.reason)),
							...(route.doubt !== 0n ? [rlp.uint(route.doubt)] : []),
						]),
					),
				),
				encodeChannels(b.channels),
				encodeHolders(b.revoked),
				encodeLimits(b.limits),
				...encodeStanding(b, b.delivery !== undefined),
				...(b.delivery ? [encodeDelivery(b.delivery)] : []),
			];
		case 'fetch':
			return [
				encodeHashes(b.sent),
				encodeHashes(b.missing),
				encodeHashes(b.later),
				...(b.owed ? [rlp.list([encodeHashes(b.owed.dismissed)])] : []),
			];
		case 'clock':
			return [rlp.uint(b.now)];
		case 'ring':
			return [rlp.string(b.body)];
	}
}

function decodeBody(kind: ReplyBody['kind'], r: Reader): ReplyBody {
	switch (kind) {
		case 'register':
			return {
				kind,
				version: r.uint('version'),
				expires: r.uint('expires'),
				challenged: r.bool('challenged'),
				limits: readLimits(r),
				...readStanding(r),
			};
		case 'status':
			return {
				kind,
				version: r.uint('version'),
				expires: r.uint('expires'),
				seq: r.uint('sequence'),
				plain: r.bool('plain'),
				routes: r.items('routes', maxRoutes, (list) => readRouteStatus(list.list('route'))),
				channels: readChannels(r, Mode.muted),
				revoked: readHolders(r, maxHeldRevoked),
				limits: readLimits(r),
				...readStanding(r),
				...(r.more ? { delivery: readDelivery(r.list('delivery')) } : {}),
			};
		case 'fetch':
			return {
				kind,
				sent: readHashes(r, maxFetch),
				missing: readHashes(r, maxFetch),
				later: readHashes(r, maxFetch),
				...(r.more ? { owed: { dismissed: readHashes(r.list('owed'), maxFetch) } } : {}),
			};
		case 'clock':
			return { kind, now: r.uint('now') };
		case 'ring':
			return { kind, body: r.bytes('ring', maxBody) };
	}
}

const readRouteStatus = (r: Reader): RouteStatus => ({
	provider: text(r.bytes('provider name', maxProviderName)),
	state: r.small('state', 0xff),
	reason: text(r.bytes('reason', maxText)),
	doubt: r.uint('doubt'),
});

const encodeDelivery = (d: Delivery): Uint8Array =>
	rlp.list([
		rlp.uint(d.fetched),
		rlp.uint(d.silenced ? 1 : 0),
		rlp.uint(d.unread),
		rlp.uint(d.pending),
		rlp.uint(d.tests),
		rlp.list(
			d.routes.map((route) =>
				rlp.list([
					rlp.uint(route.accepted),
					rlp.uint(route.budget),
					rlp.uint(route.tested),
					rlp.uint(route.outcome),
					rlp.string(clip(route.reason)),
				]),
			),
		),
	]);

const readDelivery = (r: Reader): Delivery => ({
	fetched: r.uint('fetched'),
	silenced: r.bool('silenced'),
	unread: r.uint('unread'),
	pending: r.uint('pending'),
	tests: r.uint('tests'),
	routes: r.items('routes', maxRoutes, (list) => {
		const route = list.list('route');
		return {
			accepted: route.uint('accepted'),
			budget: route.uint('budget'),
			tested: route.uint('tested'),
			outcome: route.small('outcome', 0xff),
			reason: text(route.bytes('reason', maxText)),
		};
	}),
});
