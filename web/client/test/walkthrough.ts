// What the README's walkthrough leaves to the reader's app: a server, a browser's push
// subscription, and somebody who writes. The server is the one of the tests, in memory.
import 'fake-indexeddb/auto';
import { hex, hex0x, utf8 } from '../src/bytes.js';
import { keyFromPassword, seal, topicFor, uncompressed } from '../src/whisper/index.js';
import { TestClock, TestServer } from './server.js';
import { filled } from './support.js';

const clock = new TestClock();
clock.time = Date.now();
export const server = new TestServer(clock);
export const pushKey = hex0x(server.pushKey);
export const enode = `enode://${hex(uncompressed(server.pushKey).subarray(1))}@192.0.2.1:30303`;

export const subscription = {
	endpoint: 'https://push.example/abc',
	getKey: (name: 'p256dh' | 'auth'): ArrayBuffer => filled(name === 'auth' ? 16 : 65, 4).slice().buffer as ArrayBuffer,
};

/** The next push, as the browser would hand it to the service worker. */
export async function nextPush(): Promise<string> {
	if (server.pushes.length === 0) {
		const key = await keyFromPassword('our secret');
		await server.deliver(await seal({ topic: topicFor('family'), key, payload: utf8('Dinner is at seven.') }));
	}
	return server.pushes.pop()!;
}

/** What was shown as a notification. */
export const notifications: string[] = [];
export const notify = (chat: string, text: string): void => void notifications.push(`${chat}: ${text}`);
