import { empty, equal, random, text, utf8 } from '../bytes.js';
import { malformed, ProtocolError } from '../errors.js';
import { Reader } from '../reader.js';
import * as rlp from '../rlp.js';
import {
	codeSize,
	handleSize,
	hashSize,
	idSize,
	ledgerSecretSize,
	maxFetch,
	maxGroup,
	maxHolder,
	maxKey,
	maxKeys,
	maxProviderName,
	maxRevoked,
	maxVoucher,
	maxRoutes,
	maxToken,
	proofSize,
	protocolVersion,
	pushKeySize,
	rootSize,
	sealKeySize,
} from './limits.js';
import {
	type Channel,
	checkLength,
	checkVersion,
	encodeChannels,
	encodeHashes,
	encodeHolders,
	encodeMessage,
	Mode,
	readChannels,
	readHashes,
	readHolders,
} from './parts.js';

/** One way to wake a device. */
export interface Route {
	/** The name as in the server's offer, such as `webpush`; at most 32 bytes. */
	readonly provider: string;
	/** A device token or URL, 1 to 1024 bytes. */
	readonly address: Uint8Array;
	/** What the provider needs besides, such as p256dh and auth of Web Push; at most 4 of 256 bytes. */
	readonly keys: readonly Uint8Array[];
}

/** The optional part of a registration. */
export interface Preferences {
	/** Lets others ring by Notify: the server derives each holder's capability from it. 32 bytes, or none for nobody. */
	readonly root: Uint8Array;
	/** How Notify names the registration: 16 random bytes, given together with `root`. */
	readonly handle: Uint8Array;
	/** Holders whose capability is void, at most 64. */
	readonly revoked: readonly string[];
}

/** Creates or replaces a registration, which belongs to the key that signs the request. */
export interface Register {
	readonly kind: 'register';
	/** Greater than that of any change before. The same version with the same content is answered as the first time. */
	readonly version: bigint;
	/** The ways to wake the device, the preferred one first: 1 to 4. */
	readonly routes: readonly Route[];
	/** The X25519 public key to which wake-ups are sealed, 32 bytes; none if `plain` is set. */
	readonly sealKey: Uint8Array;
	/** Asks for wake-ups that show the envelopes' hashes to the push service. */
	readonly plain: boolean;
	/** What the device is to be woken for: at most 4096, no topic twice. */
	readonly channels: readonly Channel[];
	/** After how many seconds the registration ends unless it is renewed; 0: the longest that the server allows. */
	readonly lifetime: bigint;
	/** A secret of at most 32 bytes that the devices of one user share; may be none. */
	readonly group: Uint8Array;
	readonly preferences: Preferences;
	/** Starts the keys that messages' wake-ups are sealed under, see `chainStart`: 32 bytes, or none. */
	readonly chain: Uint8Array;
	/** Pays for the registration where the server asks for that: at most 512 bytes, or none. */
	readonly voucher: Uint8Array;
}

/** Proves that the device received the challenge sent to its address, see `confirmation`. */
export interface Confirm {
	readonly kind: 'confirm';
	/** 16 zeros beside a proof; devices of before 2027 sent the code itself. */
	readonly code: Uint8Array;
	/** 32 bytes, or none. */
	readonly proof: Uint8Array;
}

/** Changes some of a registration's channels and leaves the others as they are. */
export interface Channels {
	readonly kind: 'channels';
	/** As in Register. */
	readonly version: bigint;
	/** New, changed or removed ones; at most 4096, no topic twice. */
	readonly channels: readonly Channel[];
	/** Holders to revoke besides those revoked before; at most 64. */
	readonly revoked: readonly string[];
}

/** Ends a registration. */
export interface Unregister {
	readonly kind: 'unregister';
	/** As in Register. */
	readonly version: bigint;
}

/** Asks what the server holds about the registration. */
export interface Status {
	readonly kind: 'status';
	/** Asks how wake-ups get through; undefined: the device does not ask. */
	readonly detail?: StatusDetail | undefined;
}

/** Asks how wake-ups get through. */
export interface StatusDetail {
	/** Asks for a test push, a canary, on every route in use. */
	readonly test: boolean;
}

/** Asks for exactly these envelopes. It is also the receipt for the wake-ups that told of them. */
export interface Fetch {
	readonly kind: 'fetch';
	/** At most 64. */
	readonly hashes: readonly Uint8Array[];
	/** Envelopes that the device has by another way: they are not sent, and no wake-up is needed for them. At most 64. */
	readonly received: readonly Uint8Array[];
	/** Asks what else the server owes the device; undefined: the device does not ask. */
	readonly owed?: OwedQuery | undefined;
}

/** Asks what a server owes a device besides envelopes. */
export interface OwedQuery {
	/** Dismissals that the device was told of: they are not told again. At most 64. */
	readonly dismissed: readonly Uint8Array[];
}

/** Says that these envelopes need no wake-up any more, on any device of the group: they were read, or sent, here. */
export interface Seen {
	readonly kind: 'seen';
	/** At most 64. */
	readonly hashes: readonly Uint8Array[];
}

/** Why somebody is to be rung. */
export const NotifyType = {
	/** For an envelope on a topic that the receiver does not register. */
	message: 1,
	/** The receiver is mentioned. */
	mention: 2,
} as const;
export type NotifyType = (typeof NotifyType)[keyof typeof NotifyType];

/** Rings a receiver for an envelope, see `notification`. */
export interface Notify {
	readonly kind: 'notify';
	readonly handle: Uint8Array;
	/** 1 to 64 bytes, a name that means something to the receiver alone. */
	readonly holder: string;
	readonly hash: Uint8Array;
	readonly type: NotifyType;
	readonly proof: Uint8Array;
}

/** The body of a request; `kind` tells which. */
export type RequestBody = Register | Confirm | Channels | Unregister | Status | Fetch | Seen | Notify;

/** Asks for a registration's ledger. */
export interface LedgerQuery {
	/** Of the ledger of which the device has a head, 16 bytes; none: it has none. */
	readonly secret: Uint8Array;
	/** What the chain has up to here is not told again. */
	readonly count: bigint;
}

/** What a device asks of a server: RLP [version, kind, id, issued, body, server, ledger]. */
export interface Request {
	/** 16 random bytes; the reply repeats it, and a server answers it once. */
	readonly id: Uint8Array;
	/** Unix milliseconds by the device's clock. */
	readonly issued: bigint;
	readonly body: RequestBody;
	/** The push key that the request is made for; `sealRequest` fills it in. None from devices of before 2027. */
	readonly server: Uint8Array;
	/** Asks for the ledger in the reply; undefined: the device does not ask. */
	readonly ledger?: LedgerQuery | undefined;
}

const numbers = { register: 1, confirm: 2, channels: 3, unregister: 4, status: 5, fetch: 6, seen: 7, notify: 8 } as const;
const kinds = new Map(Object.entries(numbers).map(([kind, n]) => [BigInt(n), kind as RequestBody['kind']]));

/** Gives a body a random id and the time. */
export function newRequest(body: RequestBody, now: Date): Request {
	return { id: random(idSize), issued: BigInt(now.getTime()), body, server: empty };
}

/** Tells whether a request may be answered by the server with that push key: it names no other. */
export const isFor = (request: Request, pushKey: Uint8Array): boolean =>
	request.server.length === 0 || equal(request.server, pushKey);

/**
 * Returns the payload of a request's message. Throws a ProtocolError for what exceeds a
 * limit, so that nothing is sent that the other end would refuse.
 */
export function encodeRequest(request: Request): Uint8Array {
	const { body, server, ledger } = request;
	const message = encodeMessage([
		rlp.uint(protocolVersion),
		rlp.uint(numbers[body.kind]),
		rlp.string(request.id),
		rlp.uint(request.issued),
		rlp.list(encodeBody(body)),
		...(server.length > 0 || ledger ? [rlp.string(server)] : []),
		...(ledger ? [rlp.list([rlp.string(ledger.secret), rlp.uint(ledger.count)])] : []),
	]);
	decodeRequest(message);
	return message;
}

/**
 * Reads the payload of a request's message. Throws a ProtocolError, `malformed`,
 * `version`, `unsupported` or `too-large`, which has the request's id if that could be
 * read.
 */
export function decodeRequest(bytes: Uint8Array): Request {
	checkLength(bytes, 'request');
	const r = Reader.open(bytes, 'request', true);
	const version = r.uint('version');
	const number = r.uint('kind');
	const id = r.fixed('request id', idSize);
	try {
		checkVersion(version);
		const kind = kinds.get(number);
		if (kind === undefined) {
			throw new ProtocolError('unsupported', `request kind ${number} is not known`);
		}
		const issued = r.uint('issue time');
		const body = decodeBody(kind, r.list('body'));
		const server = r.maybe('server', pushKeySize);
		return { id, issued, body, server, ...(r.more ? { ledger: readLedgerQuery(r.list('ledger')) } : {}) };
	} catch (error) {
		if (error instanceof ProtocolError) {
			throw new ProtocolError(error.code, error.message, { requestId: id });
		}
		throw error;
	}
}

const readLedgerQuery = (r: Reader): LedgerQuery => ({
	secret: r.maybe('secret of a ledger', ledgerSecretSize),
	count: r.uint('count of a ledger'),
});

function encodeBody(b: RequestBody): Uint8Array[] {
	switch (b.kind) {
		case 'register':
			return [
				rlp.uint(b.version),
				rlp.list(
					b.routes.map((route) =>
						rlp.list([rlp.string(utf8(route.provider)), rlp.string(route.address), rlp.list(route.keys.map(rlp.string))]),
					),
				),
				rlp.string(b.sealKey),
				rlp.uint(b.plain ? 1 : 0),
				encodeChannels(b.channels),
				rlp.uint(b.lifetime),
				rlp.string(b.group),
				rlp.list([rlp.string(b.preferences.root), rlp.string(b.preferences.handle), encodeHolders(b.preferences.revoked)]),
				...(b.chain.length > 0 || b.voucher.length > 0 ? [rlp.string(b.chain)] : []),
				...(b.voucher.length > 0 ? [rlp.string(b.voucher)] : []),
			];
		case 'confirm':
			return [rlp.string(b.code), ...(b.proof.length > 0 ? [rlp.string(b.proof)] : [])];
		case 'channels':
			return [rlp.uint(b.version), encodeChannels(b.channels), encodeHolders(b.revoked)];
		case 'unregister':
			return [rlp.uint(b.version)];
		case 'status':
			return b.detail ? [rlp.list([rlp.uint(b.detail.test ? 1 : 0)])] : [];
		case 'fetch':
			return [
				encodeHashes(b.hashes),
				...(b.received.length > 0 || b.owed ? [encodeHashes(b.received)] : []),
				...(b.owed ? [rlp.list([encodeHashes(b.owed.dismissed)])] : []),
			];
		case 'seen':
			return [encodeHashes(b.hashes)];
		case 'notify':
			return [rlp.string(b.handle), rlp.string(utf8(b.holder)), rlp.string(b.hash), rlp.uint(b.type), rlp.string(b.proof)];
	}
}

function decodeBody(kind: RequestBody['kind'], r: Reader): RequestBody {
	switch (kind) {
		case 'register':
			return readRegister(r);
		case 'confirm':
			return { kind, code: r.fixed('code', codeSize), proof: r.maybe('proof', proofSize) };
		case 'channels': {
			const body = { kind, version: r.uint('version'), channels: readChannels(r, Mode.removed), revoked: readHolders(r, maxRevoked) };
			checkChange(body.version);
			return body;
		}
		case 'unregister':
			return { kind, version: r.uint('version') };
		case 'status':
			return { kind, ...(r.more ? { detail: { test: r.list('detail').bool('test') } } : {}) };
		case 'fetch':
			return {
				kind,
				hashes: readHashes(r, maxFetch),
				received: readHashes(r, maxFetch),
				...(r.more ? { owed: { dismissed: readHashes(r.list('owed'), maxFetch) } } : {}),
			};
		case 'seen':
			return { kind, hashes: readHashes(r, maxFetch) };
		case 'notify':
			return readNotify(r);
	}
}

function readRegister(r: Reader): Register {
	const body: Register = {
		kind: 'register',
		version: r.uint('version'),
		routes: r.items('routes', maxRoutes, (list) => readRoute(list.list('route'))),
		sealKey: r.maybe('seal key', sealKeySize),
		plain: r.bool('plain'),
		channels: readChannels(r, Mode.muted),
		lifetime: r.uint('lifetime'),
		group: r.bytes('group id', maxGroup),
		preferences: readPreferences(r.list('preferences')),
		chain: r.maybe('chain', sealKeySize),
		voucher: r.bytes('voucher', maxVoucher),
	};
	checkChange(body.version);
	if (body.routes.length === 0) {
		throw malformed('registration without a route');
	}
	if (body.plain === body.sealKey.length > 0) {
		throw malformed('registration needs a seal key, or else plain, and not both');
	}
	if (body.plain && body.chain.length > 0) {
		throw malformed('a chain for wake-ups that are not sealed');
	}
	const { root, handle } = body.preferences;
	if ((root.length === 0) !== (handle.length === 0)) {
		throw malformed('root and handle come together');
	}
	return body;
}

function readRoute(r: Reader): Route {
	const provider = r.bytes('provider name', maxProviderName);
	const address = r.bytes('address', maxToken);
	const keys = r.items('provider keys', maxKeys, (list) => list.bytes('provider key', maxKey));
	if (provider.length === 0 || address.length === 0) {
		throw malformed('route without provider or address');
	}
	return { provider: text(provider), address, keys };
}

const readPreferences = (r: Reader): Preferences => ({
	root: r.maybe('root', rootSize),
	handle: r.maybe('handle', handleSize),
	revoked: readHolders(r, maxRevoked),
});

function readNotify(r: Reader): Notify {
	const handle = r.fixed('handle', handleSize);
	const holder = r.bytes('holder', maxHolder);
	const hash = r.fixed('hash', hashSize);
	const type = r.small('kind', 0xff);
	const proof = r.fixed('proof', proofSize);
	if (holder.length === 0) {
		throw malformed('notify without a holder');
	}
	if (type !== NotifyType.message && type !== NotifyType.mention) {
		throw new ProtocolError('unsupported', `notify kind ${type} is not known`);
	}
	return { kind: 'notify', handle, holder: text(holder), hash, type, proof };
}

function checkChange(version: bigint): void {
	if (version === 0n) {
		throw malformed('version 0');
	}
}

