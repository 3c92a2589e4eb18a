// The messages of the push protocol of web/vectors, as web/vectors/push_test.go has them.
import { empty, hex0x, utf8 } from '../src/bytes.js';
import * as push from '../src/push/index.js';
import { publicKeyOf } from '../src/whisper/index.js';
import { filled, plain } from './support.js';

export interface PushVector {
	name: string;
	value: unknown;
	payload: string;
	envelope: string;
}

export interface PayloadVector {
	name: string;
	value: unknown;
	sealed: string;
	plain: string;
}

export interface PushVectors {
	/** The three are private. */
	pushKey: string;
	registrationKey: string;
	sealKey: string;
	requests: PushVector[];
	replies: PushVector[];
	offers: PushVector[];
	payloads: PayloadVector[];
}

const pushKey = filled(32, 0x46);
const registrationKey = filled(32, 0x72);
const sealKey = filled(32, 0x5f);
const server = publicKeyOf(pushKey);
const account = publicKeyOf(registrationKey);
const [hashA, hashB] = [filled(32, 0xaa), filled(32, 0xbb)];
const code = filled(16, 0xc0);
const max = 2n ** 64n - 1n;
const now = new Date(1_800_000_000_000);

const nobody = { root: empty, handle: empty, revoked: [] };

const bodies = (): Record<string, push.RequestBody> => {
	const [root, handle] = [filled(32, 0x0b), filled(16, 0x4a)];
	const none = { kind: 'register', sealKey: empty, plain: false, channels: [], lifetime: 0n, group: empty, preferences: nobody, chain: empty, voucher: empty } as const;
	return {
		register: {
			kind: 'register',
			version: 7n,
			routes: [
				{ provider: 'webpush', address: utf8('https://push.example/ä'), keys: [filled(65, 4), filled(16, 5)] },
				{ provider: 'direct', address: filled(33, 2), keys: [] },
			],
			sealKey: filled(32, 3),
			plain: false,
			channels: [{ topic: Uint8Array.of(1, 2, 3, 4), mode: push.Mode.muted, mutedUntil: max }],
			lifetime: 604800n,
			group: utf8('family'),
			preferences: { root, handle, revoked: ['eve', 'größer', '🍝'] },
			chain: filled(32, 0x0c),
			voucher: filled(296, 0x0d),
		},
		'register, plain': { ...none, version: max, routes: [{ provider: 'x', address: filled(1, 0), keys: [] }], plain: true },
		'register, of 150 channels': {
			...none,
			version: 1n,
			routes: [{ provider: 'x', address: filled(1, 0x80), keys: [empty, filled(1, 0)] }],
			sealKey: filled(32, 3),
			channels: Array.from({ length: 150 }, (_, i) => ({
				topic: Uint8Array.of(i, i >> 8, 0x7f, 0),
				mode: (i % 3) as push.Mode,
				mutedUntil: BigInt(i) << 40n,
			})),
		},
		confirm: push.confirmation(code, server, account),
		'confirm, the code': { kind: 'confirm', code, proof: empty },
		channels: {
			kind: 'channels',
			version: 8n,
			channels: [
				{ topic: filled(4, 0), mode: push.Mode.removed, mutedUntil: 0n },
				{ topic: Uint8Array.of(0, 0, 0, 4), mode: push.Mode.every, mutedUntil: 0n },
			],
			revoked: ['mallory'],
		},
		'channels, none': { kind: 'channels', version: 8n, channels: [], revoked: [] },
		unregister: { kind: 'unregister', version: 9n },
		status: { kind: 'status' },
		fetch: { kind: 'fetch', hashes: [hashA, hashB], received: [] },
		'fetch, received': { kind: 'fetch', hashes: [], received: [hashB] },
		seen: { kind: 'seen', hashes: [hashA] },
		notify: push.notification({ capability: push.capability(root, 'älice'), handle, holder: 'älice' }, hashA, push.NotifyType.mention, server),
	};
};

const limits = { routes: 4n, channels: 2n ** 63n, lifetime: 2592000n, fetch: 64n, pow: 0.002 };
const noLimits = { routes: 0n, channels: 0n, lifetime: 0n, fetch: 0n, pow: 0 };
const standing = { now: 1_800_000_000_000n, epoch: max, log: filled(16, 9) };
const noStanding = { now: 0n, epoch: 0n, log: empty };

const replies = (): Record<string, push.Reply> => {
	const reply = { ...push.emptyReply, id: filled(16, 0x1d) };
	const { active, waiting, dead } = push.State;
	return {
		register: { ...reply, state: waiting, body: { kind: 'register', version: 7n, expires: 1800604800n, challenged: true, limits, ...standing } },
		stale: {
			...reply, code: push.Code.stale, text: 'größer, bitte',
			body: { kind: 'register', version: max, expires: 0n, challenged: false, limits: noLimits, ...noStanding },
		},
		status: {
			...reply, state: dead, reason: 'fcm 404 UNREGISTERED',
			body: {
				kind: 'status', version: 7n, expires: 1800604800n, seq: 2n ** 60n, plain: true,
				routes: [
					{ provider: 'fcm', state: dead, reason: 'gone', doubt: 0n },
					{ provider: 'webpush', state: active, reason: '', doubt: 1_800_000_000n },
				],
				channels: [{ topic: Uint8Array.of(1, 0, 0, 0), mode: push.Mode.mentions, mutedUntil: 0n }],
				revoked: ['eve'], limits, ...standing,
			},
		},
		fetch: { ...reply, state: active, body: { kind: 'fetch', sent: [hashA], missing: [hashB], later: [filled(32, 0)] } },
		clock: { ...reply, code: push.Code.clock, body: { kind: 'clock', now: 1_800_000_000_000n } },
		ring: { ...push.emptyReply, state: active, body: { kind: 'ring', body: utf8('{"v":2,"k":4}') } },
		confirmed: { ...reply, state: active },
		'confirmed, with a ledger': {
			...reply, state: active,
			ledger: {
				secret: filled(16, 0x5c), log: standing.log, since: 2n ** 40n, begun: 1_800_000_000_000n, topics: hashA, through: 2n ** 40n + 3n,
				at: 1_800_000_000_001n, count: max, chain: hashB, signature: filled(64, 0x51), told: [hashA, hashB],
			},
		},
		'unknown code': { ...reply, code: 200, state: 100, text: 'é'.repeat(128) },
	};
};

const offers = (): Record<string, push.Offer> => ({
	full: {
		issued: 1_800_000_000n, expires: 1_800_003_600n, enode: 'enode://abc@192.0.2.1:30303',
		providers: [{ name: 'fcm', info: '1234' }, { name: 'webpush', info: 'BL…' }], limits, price: 'one euro a month',
	},
	empty: { issued: 0n, expires: 0n, enode: '', providers: [], limits: noLimits, price: '' },
});

const payloads = (): Record<string, push.Payload> => {
	const { messages, challenge, dismiss } = push.PayloadKind;
	return {
		messages: { ...push.emptyPayload, kind: messages, seq: 12n, more: true, hashes: [hashA, hashB] },
		'messages, full': {
			...push.emptyPayload, kind: messages, seq: 2n ** 53n - 1n, hashes: Array.from({ length: push.maxHashes }, (_, i) => filled(32, i)),
		},
		challenge: { ...push.emptyPayload, kind: challenge, code, server, account },
		'challenge, unbound': { ...push.emptyPayload, kind: challenge, code },
		dismiss: { ...push.emptyPayload, kind: dismiss, hashes: [hashB] },
		canary: push.emptyPayload,
		'of the future': { ...push.emptyPayload, kind: 200 },
	};
};

export async function pushVectors(): Promise<PushVectors> {
	const all: PushVectors = {
		pushKey: hex0x(pushKey), registrationKey: hex0x(registrationKey), sealKey: hex0x(sealKey),
		requests: [], replies: [], offers: [], payloads: [],
	};
	for (const [name, body] of Object.entries(bodies())) {
		const envelope = await push.sealRequest(push.newRequest(body, now), registrationKey, server, { now });
		const { request } = await push.openRequest(envelope, pushKey);
		all.requests.push({ name, value: plain(request), payload: hex0x(push.encodeRequest(request)), envelope: hex0x(envelope.raw) });
	}
	for (const [name, value] of Object.entries(replies())) {
		const envelope = await push.sealReply(value, pushKey, account, { now });
		const reply = await push.openReply(envelope, registrationKey, server);
		all.replies.push({ name, value: plain(reply), payload: hex0x(push.encodeReply(reply)), envelope: hex0x(envelope.raw) });
	}
	for (const [name, offer] of Object.entries(offers())) {
		const envelope = await push.sealOffer(offer, pushKey, { now });
		all.offers.push({ name, value: plain(offer), payload: hex0x(push.encodeOffer(offer)), envelope: hex0x(envelope.raw) });
	}
	for (const [name, payload] of Object.entries(payloads())) {
		const sealed = await push.sealPayload(payload, push.sealPublicKey(sealKey));
		all.payloads.push({ name, value: plain(payload), sealed, plain: push.plainPayload(payload) });
	}
	return all;
}
