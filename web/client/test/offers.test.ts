import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hex, utf8 } from '../src/bytes.js';
import { applicationServerKey, nodeKeyOf, providerInfo, readOffer, tokenRoute, webPushRoute } from '../src/device/index.js';
import * as push from '../src/push/index.js';
import { publicKeyOf, seal, uncompressed } from '../src/whisper/index.js';
import { failure, failureOf, filled } from './support.js';

const key = filled(32, 0x45);
const node = publicKeyOf(filled(32, 0x46));
const enode = `enode://${hex(uncompressed(node).subarray(1))}@192.0.2.1:30303`;
const now = new Date(1_800_000_000_000);
const offer: push.Offer = {
	issued: 1_800_000_000n, expires: 1_800_003_600n, enode, providers: [{ name: 'webpush', info: 'the VAPID key' }],
	limits: { routes: 4n, channels: 1000n, lifetime: 2592000n, fetch: 64n, pow: 0.2 }, price: '',
};

test('an offer that holds tells whom to trust and where the node is', async () => {
	const read = await readOffer(await push.sealOffer(offer, key), now);
	assert.equal(hex(read.pushKey), hex(publicKeyOf(key)));
	assert.equal(hex(read.nodeKey!), hex(node));
	assert.equal(providerInfo(read.offer, 'webpush'), 'the VAPID key');
	assert.equal(providerInfo(read.offer, 'fcm'), undefined);
	const record = await readOffer(await push.sealOffer({ ...offer, enode: 'enr:-abc' }, key), now);
	assert.equal(record.nodeKey, undefined);
});

test('an offer that does not hold, names no node or is nobody\'s is refused', async () => {
	for (const wrong of [
		{ ...offer, expires: 1_800_000_000n }, { ...offer, issued: 1_800_000_301n }, { ...offer, enode: 'https://example.org' },
		{ ...offer, enode: `enode://${'00'.repeat(64)}@192.0.2.1:30303` },
	]) {
		const envelope = await push.sealOffer(wrong, key);
		assert.equal(await failureOf(() => readOffer(envelope, now)), 'malformed');
	}
	const { openOffer, encodeOffer, offerTopic } = push;
	const unsigned = await seal({ payload: encodeOffer(offer), topic: offerTopic(), key: filled(32, 1) });
	assert.equal(await failureOf(() => openOffer(unsigned)), 'cannot-open');
});

test('addresses of push services become routes', () => {
	const keys: Record<string, ArrayBuffer | null> = { p256dh: filled(65, 4).slice().buffer as ArrayBuffer, auth: filled(16, 5).slice().buffer as ArrayBuffer };
	const subscription = { endpoint: 'https://push.example/abc', getKey: (name: 'p256dh' | 'auth') => keys[name] ?? null };
	assert.deepEqual(webPushRoute(subscription), {
		provider: 'webpush', address: utf8('https://push.example/abc'), keys: [filled(65, 4), filled(16, 5)],
	});
	keys['auth'] = null;
	assert.throws(() => webPushRoute(subscription), TypeError);
	assert.deepEqual(tokenRoute('fcm', 'token'), { provider: 'fcm', address: utf8('token'), keys: [] });
	assert.equal(hex(nodeKeyOf(enode)), hex(node));
	assert.equal(failure(() => nodeKeyOf('enode://nobody')), 'malformed');
});

test('a VAPID key becomes what the browser takes', () => {
	const point = Buffer.from([4, ...filled(64, 0xfb)]);
	assert.deepEqual(applicationServerKey(point.toString('base64url')), Uint8Array.from(point));
	for (const wrong of ['', 'x', point.toString('base64'), Buffer.from(filled(65, 5)).toString('base64url')]) {
		assert.equal(failure(() => applicationServerKey(wrong)), 'malformed');
	}
});
