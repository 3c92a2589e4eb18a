import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { concat, utf8 } from '../src/bytes.js';
import { DeviceError } from '../src/device/index.js';
import { DoorTransport } from '../src/device/door.js';
import { FrameSplitter } from '../src/device/frames.js';
import { type Frame, maxFrame } from '../src/device/transport.js';
import { isProtocolError } from '../src/errors.js';
import { seal } from '../src/whisper/index.js';
import { runs } from './fuzz-support.js';
import { filled } from './support.js';

const frame = (kind: number, content: Uint8Array): Uint8Array => {
	const head = new Uint8Array(5);
	head[0] = kind;
	new DataView(head.buffer).setUint32(1, content.length);
	return concat(head, content);
};

const request = await seal({ topic: filled(4, 1), key: filled(32, 1), payload: utf8('?') });
const never = new AbortController().signal;

/** A door that answers with some chunks, and remembers what it was asked. */
function answering(status: number, ...chunks: Uint8Array[]) {
	const asked: [string, RequestInit][] = [];
	const ends = { cancelled: false };
	const fetch = ((url: string, init: RequestInit) => {
		asked.push([url, init]);
		const queue = [...chunks];
		const body = new ReadableStream<Uint8Array>({
			pull: (c) => (queue.length > 0 ? c.enqueue(queue.shift()!) : c.close()),
			cancel: () => void (ends.cancelled = true),
		}, { highWaterMark: 0 });
		return Promise.resolve(new Response([204, 304].includes(status) ? null : body, { status }));
	}) as unknown as typeof globalThis.fetch;
	return { transport: new DoorTransport('https://mail.example/somewhere', { fetch }), asked, ends };
}

async function all(frames: AsyncIterable<Frame>): Promise<Frame[]> {
	const list: Frame[] = [];
	for await (const f of frames) {
		list.push(f);
	}
	return list;
}

test('however an answer is cut into chunks, its frames are the same', () => {
	const frames = fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 300 })), { maxLength: 8 });
	fc.assert(
		fc.property(frames, fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1 }), (sent, cuts) => {
			const bytes = concat(...sent.map(([kind, content]) => frame(kind, content)));
			const splitter = new FrameSplitter(300);
			const got = [];
			for (let at = 0, i = 0; at < bytes.length; i++) {
				const end = at + cuts[i % cuts.length]!;
				got.push(...splitter.push(bytes.subarray(at, end)));
				at = end;
			}
			assert.deepEqual(got.map((f) => [f.kind, [...f.bytes]]), sent.map(([kind, content]) => [kind, [...content]]));
			assert.ok(splitter.whole);
		}),
		runs,
	);
});

test('whatever bytes come, they are frames of the length allowed, or too long', () => {
	fc.assert(
		fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
			const splitter = new FrameSplitter(1000);
			try {
				for (const f of chunks.flatMap((c) => splitter.push(c))) {
					assert.ok(f.bytes.length <= 1000);
				}
			} catch (error) {
				assert.ok(isProtocolError(error, 'too-large'));
			}
		}),
		runs,
	);
});

test('a request is one post without anything that tells who asks', async () => {
	const mark = utf8('end');
	const { transport, asked, ends } = answering(200, frame(127, request.raw), frame(99, mark), frame(0, new Uint8Array(0)), frame(125, mark));
	const frames = await all(transport.exchange(request, { wanted: [], signal: never }));
	assert.deepEqual(frames.map((f) => f.kind), ['envelope', 'alive', 'complete'], 'a kind that is not known is left out');
	assert.deepEqual(frames[0]!.bytes, request.raw);
	const [url, init] = asked[0]!;
	assert.equal(url, 'https://mail.example/whisperpush/request');
	assert.deepEqual([init.method, init.credentials, init.redirect, init.headers], ['POST', 'omit', 'error', undefined]);
	assert.deepEqual(init.body, request.raw);
	assert.ok(!ends.cancelled);
});

test('what is too long is refused before it comes, and what breaks off is no answer', async () => {
	const head = frame(127, new Uint8Array(0));
	new DataView(head.buffer).setUint32(1, maxFrame + 1);
	const long = answering(200, head, filled(1000, 1));
	await assert.rejects(all(long.transport.exchange(request, { wanted: [], signal: never })), (e) => isProtocolError(e, 'too-large'));
	const broken = answering(200, frame(127, request.raw).subarray(0, 100));
	await assert.rejects(all(broken.transport.exchange(request, { wanted: [], signal: never })), /broke off/);
});

test('who has heard enough lets the answer end, or ends it', async () => {
	const short = answering(200, frame(127, request.raw));
	for await (const f of short.transport.exchange(request, { wanted: [], signal: never })) {
		assert.equal(f.kind, 'envelope');
		break;
	}
	const chatty = answering(200, ...Array.from({ length: 5 }, () => frame(127, request.raw)));
	for await (const f of chatty.transport.exchange(request, { wanted: [], signal: never })) {
		assert.equal(f.kind, 'envelope');
		break;
	}
	await new Promise((resolve) => setImmediate(resolve));
	assert.deepEqual([short.ends.cancelled, chatty.ends.cancelled], [false, true]);
});

test('a door that does not answer says why, in a few words', async () => {
	const busy = answering(503, utf8('the server is\nbusy'));
	await assert.rejects(all(busy.transport.exchange(request, { wanted: [], signal: never })), /503: the server is busy/);
	const refusing = answering(422, utf8('too little work'));
	await assert.rejects(refusing.transport.post(request, never), (e) => e instanceof DeviceError && e.code === 'refused' && /too little work/.test(e.message));
	const endless = answering(422, ...Array.from({ length: 100 }, () => filled(1000, 65)));
	await assert.rejects(endless.transport.post(request, never), (e) => e instanceof Error && e.message.length < 100);
	assert.ok(endless.ends.cancelled);
	await answering(204).transport.post(request, never);
	const large = answering(200, ...Array.from({ length: 100 }, () => filled(1000, 65)));
	await assert.rejects(large.transport.offer(), (e) => isProtocolError(e, 'too-large'));
});
