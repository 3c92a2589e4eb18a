// What the app does and says when something is missing: the network, the server, a permission, the right time.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bodies, join_, person, shows, start, write } from './browser.mjs';

let world;
before(async () => {
	world = await start();
}, { timeout: 180_000 });
after(() => world?.stop());

const told = (page, words) => page.waitForFunction((w) => document.querySelector('#notices').textContent.includes(w), { timeout: 60_000 }, words);
const quiet = (page) => page.waitForFunction(() => document.querySelector('#notices').textContent === '', { timeout: 60_000 });
const texts = (page) => page.$$eval('#messages .text', (all) => all.map((m) => m.textContent));

test('what is written without a network is kept, told, and sent once', { timeout: 120_000 }, async () => {
	const [alice, bob] = [await person(world), await person(world)];
	await join_(alice, 'offline', 'our secret');
	await join_(bob, 'offline', 'our secret');
	await quiet(alice);
	await alice.setOfflineMode(true);
	await told(alice, 'You are offline.');
	await write(alice, 'From the train.');
	await write(alice, 'Still there.');
	await alice.waitForFunction(() => [...document.querySelectorAll('#messages .state')].filter((s) => s.textContent.includes('not sent yet')).length === 2);
	await told(alice, '2 messages wait to be sent.');
	await alice.setOfflineMode(false);
	await shows(bob, 'From the train.');
	await shows(bob, 'Still there.');
	await quiet(alice);
	assert.equal(await alice.$('#messages .state'), null);
	assert.deepEqual(await texts(bob), ['From the train.', 'Still there.'], 'once, and in order');
	for (const page of [alice, bob]) {
		await page.browserContext().close();
	}
});

test('the app opens without its server, says so, and goes on when it is back', { timeout: 180_000 }, async () => {
	const [alice, bob] = [await person(world), await person(world)];
	await join_(alice, 'gone', 'our secret');
	await join_(bob, 'gone', 'our secret');
	await write(alice, 'Before.');
	await shows(bob, 'Before.');
	await alice.evaluate(() => navigator.serviceWorker.ready);
	await alice.reload(); // from now on the service worker has the page
	await alice.waitForSelector('body[data-ready=yes]', { timeout: 30_000 });
	await world.stopNode();
	await alice.reload();
	await told(alice, 'The server cannot be reached');
	await alice.waitForSelector('body[data-ready=yes]', { timeout: 60_000 });
	await alice.click('#chats button');
	await shows(alice, 'Before.');
	await write(alice, 'Is it back?');
	await told(alice, 'One message waits to be sent.');
	await told(bob, 'The server cannot be reached');
	await world.startNode();
	await shows(bob, 'Is it back?');
	await quiet(alice);
	await quiet(bob);
	assert.deepEqual(await texts(bob), ['Before.', 'Is it back?']);
	for (const page of [alice, bob]) {
		await page.browserContext().close();
	}
});

test('a second window says that it is one, and takes over', { timeout: 120_000 }, async () => {
	const alice = await person(world);
	const bob = await person(world);
	await join_(alice, 'windows', 'our secret');
	await join_(bob, 'windows', 'our secret');
	const second = await alice.browserContext().newPage();
	await alice.subscribes(second);
	await second.goto(alice.url());
	await told(second, 'open in another window too');
	await alice.close();
	await quiet(second);
	await write(bob, 'Which one?');
	await shows(second, 'Which one?');
	await second.browserContext().close();
	await bob.browserContext().close();
});

test('a denied permission and a wrong clock are told in words', { timeout: 120_000 }, async () => {
	const alice = await person(world, { permissions: [] });
	await told(alice, 'The browser was told to show no notifications');
	await alice.click('#notices button');
	await quiet(alice);
	assert.equal(await alice.$eval('#notify', (button) => button.hidden), true);
	await alice.evaluateOnNewDocument(() => {
		const now = Date.now;
		Date.now = () => now() + 3 * 3600_000;
	});
	await alice.reload();
	await told(alice, 'The clock of this device is 3 hours fast.');
	const bob = await person(world);
	await join_(alice, 'clock', 'our secret');
	await join_(bob, 'clock', 'our secret');
	await write(alice, 'What time is it?');
	await shows(bob, 'What time is it?');
	const sent = await bob.$eval('#messages time', (time) => Date.parse(time.dateTime));
	assert.ok(Math.abs(sent - Date.now()) < 10 * 60_000, 'a message has the right time all the same');
	for (const page of [alice, bob]) {
		await page.browserContext().close();
	}
});

test('a browser that threw away what the app kept begins anew, and can come back to a chat', { timeout: 120_000 }, async () => {
	const bob = await person(world);
	await join_(bob, 'evicted', 'our secret');
	await write(bob, 'Before.');
	const debug = await bob.createCDPSession();
	await debug.send('Storage.clearDataForOrigin', { origin: world.url, storageTypes: 'indexeddb,cache_storage,service_workers,local_storage' });
	await bob.reload();
	await bob.waitForSelector('body[data-ready=yes]', { timeout: 60_000 });
	assert.equal(await bob.$('#chats button'), null);
	await join_(bob, 'evicted', 'our secret');
	await write(bob, 'After.');
	await shows(bob, 'After.');
	await bob.browserContext().close();
});

test('a subscription that is missing is told, and that it is back', { timeout: 120_000 }, async () => {
	const alice = await person(world, { subscription: null });
	await told(alice, 'the browser has no push subscription');
	const made = await world.subscribe();
	await alice.evaluate((made) => {
		const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
		let held = null;
		PushManager.prototype.getSubscription = async () => held;
		PushManager.prototype.subscribe = async () => (held = { endpoint: made.address, expirationTime: null, getKey: (name) => bytes(made.keys[name === 'p256dh' ? 0 : 1]) });
		window.dispatchEvent(new Event('online'));
	}, made);
	await quiet(alice);
	await alice.browserContext().close();
});

test('another subscription is registered by the service worker', { timeout: 120_000 }, async () => {
	const [first, next] = [await world.subscribe(), await world.subscribe()];
	const abort = new AbortController();
	const pushes = bodies(world.pushes, next.token, abort.signal);
	const alice = await person(world, { subscription: first });
	await alice.evaluate(() => navigator.serviceWorker.ready);
	const target = await world.browser.waitForTarget((t) => t.type() === 'service_worker' && t.browserContext() === alice.browserContext());
	const worker = await target.worker();
	await worker.evaluate(async (made) => {
		const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
		PushManager.prototype.getSubscription = async () => null; // it has expired
		PushManager.prototype.subscribe = async () => ({ endpoint: made.address, expirationTime: null, getKey: (name) => bytes(made.keys[name === 'p256dh' ? 0 : 1]) });
		const event = new Event('pushsubscriptionchange');
		const work = [];
		event.waitUntil = (promise) => work.push(promise);
		self.dispatchEvent(event);
		await Promise.all(work);
	}, next);
	assert.ok((await pushes.next()).value.length > 0, 'the server sends its challenge there');
	abort.abort();
	await alice.browserContext().close();
});
