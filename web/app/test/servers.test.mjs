// Two servers at two origins: one is added by its address, compared and moved to; one is gone, and the app goes on with the other.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bodies, chromium, fill, join_, opens, person, shows, start, write } from './browser.mjs';

let world;
let other;
before(async () => {
	world = await start(() => chromium('--ignore-certificate-errors'));
	other = await world.startAnother();
}, { timeout: 180_000 });
after(() => world?.stop());

const told = (page, words) => page.waitForFunction((w) => document.querySelector('#notices').textContent.includes(w), { timeout: 60_000 }, words);
const quiet = (page) => page.waitForFunction(() => document.querySelector('#notices').textContent === '', { timeout: 60_000 });
const status = (page, words) => page.waitForFunction((w) => document.querySelector('#status').textContent.includes(w), { timeout: 60_000 }, words);
const ready = (page) => page.waitForSelector('body[data-ready=yes]', { timeout: 60_000 });
const texts = (page) => page.$$eval('#messages .text', (all) => all.map((m) => m.textContent));
const host = (url) => new URL(url).host;

async function add(page, address) {
	await opens(page, '#settings', 'settings-dialog');
	await fill(page, '#server-address', address);
	await page.keyboard.press('Enter');
}
const listed = (page, count) => page.waitForFunction((n) => document.querySelectorAll('#servers > li').length === n, { timeout: 30_000 }, count);
const row = (page, url) => page.$$eval('#servers > li', (all, h) => {
	const li = all.find((l) => l.querySelector('strong').textContent === h);
	return li && { tag: li.querySelector('.tag')?.textContent.trim(), ...Object.fromEntries([...li.querySelectorAll('dt')].map((t) => [t.textContent, t.nextElementSibling.textContent])) };
}, host(url));

/** Delivers the pushes of a subscription to the service worker at a scope that begins so, and counts them. */
async function delivers(page, token, scope, abort) {
	const debug = await page.createCDPSession();
	const at = new Promise((resolve) => {
		debug.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => {
			const path = (r) => new URL(r.scopeURL).pathname;
			const found = registrations.find((r) => !r.isDeleted && (scope === '/' ? path(r) === '/' : path(r).startsWith(scope)));
			found && resolve(found.registrationId);
		});
	});
	await debug.send('ServiceWorker.enable');
	const counted = { count: 0 };
	(async () => {
		for await (const data of bodies(world.pushes, token, abort.signal)) {
			counted.count++;
			await debug.send('ServiceWorker.deliverPushMessage', { origin: world.url, registrationId: await at, data });
		}
	})().catch(() => undefined); // it was aborted
	return counted;
}

test('a server elsewhere is added, compared and moved to: nothing is missed, nothing comes twice, and the former rings no more', { timeout: 240_000 }, async () => {
	const abort = new AbortController();
	const [here, there] = [await world.subscribe(), await world.subscribe()];
	const bob = await person(world, { subscription: here, another: there });
	const alice = await person({ ...world, url: other.url });
	const ringsHere = await delivers(bob, here.token, '/', abort);
	await join_(bob, 'moving', 'our secret');
	await join_(alice, 'moving', 'our secret');
	await write(alice, 'One.');
	await shows(bob, 'One.');

	await add(bob, 'http://192.0.2.1');
	await status(bob, 'must begin with https://');
	assert.ok(await bob.$eval('#status', (line) => {
		const box = line.getBoundingClientRect();
		return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === line;
	}), 'what went wrong is not behind the dialog');
	await bob.click('#settings-dialog .close');
	await add(bob, 'https://127.0.0.1:1');
	await status(bob, 'Asking the server: ');
	await bob.waitForFunction(() => !document.querySelector('#status').textContent.endsWith('…'));
	assert.match(await bob.$eval('#status', (s) => s.textContent), /Failed to fetch/);
	assert.equal(await bob.$('#servers > li'), null);
	await bob.click('#settings-dialog .close');
	await add(bob, host(other.url) + '/whatever');
	await listed(bob, 2);
	const offer = await row(bob, other.url);
	assert.equal(offer.Address, other.url);
	assert.match(offer.Wakes, /push service of the browser; over a stream|over a stream, while a window is open; by the push service/);
	assert.equal(offer.Price, 'free');
	assert.match(offer['Answers within'], /^[0-9]+ ms$/);
	assert.equal(offer.Answered, '1 of 1 times');

	// Both wake this browser until the next one does, by the push service too.
	await bob.click('#servers .chief');
	await told(bob, `The app moves to the server at ${host(other.url)}`);
	await listed(bob, 2);
	assert.equal((await row(bob, other.url)).tag, 'moving there');
	assert.equal((await row(bob, world.url)).tag, 'in use');
	await bob.click('#settings-dialog .close');
	await write(alice, 'Two.');
	await bob.click('#chats button');
	await shows(bob, 'Two.');
	const anew = bob.waitForNavigation({ timeout: 60_000 }); // it is the service worker that ends the move, and the window goes with it
	await bob.type('#text', 'half a sen');
	const ringsThere = await delivers(bob, there.token, '/at/', abort);
	await anew;
	await ready(bob);
	await quiet(bob);
	assert.equal(await bob.$eval('#text', (field) => field.value), 'half a sen', 'what is being written stays');
	await fill(bob, '#text', '');
	await opens(bob, '#settings', 'settings-dialog');
	await listed(bob, 2);
	assert.equal((await row(bob, other.url)).tag, 'in use');
	assert.equal((await row(bob, world.url)).tag, undefined);
	await bob.click('#settings-dialog .close');
	await write(bob, 'Three.');
	await shows(alice, 'Three.');
	await write(alice, 'Four.');
	await shows(bob, 'Four.');

	// No window is open: the push comes by the next server, and by it alone.
	const [before, after] = [ringsHere.count, ringsThere.count];
	await bob.goto('about:blank');
	await write(alice, 'Five.');
	for (let rung = 0; rung < 1; ) {
		await new Promise((resolve) => setTimeout(resolve, 100));
		rung = ringsThere.count - after;
	}
	await bob.goto(world.url);
	await ready(bob);
	await bob.click('#chats button');
	await shows(bob, 'Five.');
	assert.deepEqual(await texts(bob), ['One.', 'Two.', 'Three.', 'Four.', 'Five.'], 'each of them once, in order');
	assert.equal(ringsHere.count, before, 'the former rings no more');
	abort.abort();
	for (const page of [alice, bob]) {
		assert.deepEqual(page.problems.filter((p) => !/ERR_CONNECTION_REFUSED|ERR_UNSAFE_PORT/.test(p)), []);
		await page.browserContext().close();
	}
});

test('a server that is gone is told, and the app goes on with the next', { timeout: 240_000 }, async () => {
	const [alice, bob] = [await person({ ...world, url: other.url }), await person(world)];
	await join_(alice, 'gone', 'our secret');
	await join_(bob, 'gone', 'our secret');
	await write(alice, 'Before.');
	await shows(bob, 'Before.');
	await add(bob, other.url);
	await listed(bob, 2);
	await bob.click('#settings-dialog .close');
	await bob.evaluate(() => navigator.serviceWorker.ready);

	await world.stopNode();
	await told(bob, 'The server cannot be reached');
	await write(alice, 'While it is gone.');
	await write(bob, 'Who hears me?');
	await told(bob, 'One message waits to be sent.');
	await bob.evaluate(() => { // minutes pass
		const { now } = performance;
		performance.now = () => now.call(performance) + 4 * 60_000;
		window.dispatchEvent(new Event('online'));
	});
	for (let tries = 0; tries < 2; tries++) { // it is asked three times at least
		await bob.evaluate(() => window.dispatchEvent(new Event('online')));
	}
	await told(bob, `The server at ${host(world.url)} did not answer for minutes. The app goes on with the one at ${host(other.url)}.`);
	await shows(bob, 'While it is gone.');
	await shows(alice, 'Who hears me?');
	await bob.waitForFunction(() => !/cannot be reached|moves to/.test(document.querySelector('#notices').textContent), { timeout: 60_000 });
	await write(alice, 'After.');
	await shows(bob, 'After.');
	assert.deepEqual((await texts(bob)).sort(), ['After.', 'Before.', 'Who hears me?', 'While it is gone.'].sort(), 'each of them once');

	// It opens without its page's server, and is at home with the next.
	await bob.reload();
	await ready(bob);
	await told(bob, 'did not answer for minutes');
	await bob.click('#notices button');
	await quiet(bob);
	await bob.click('#chats button');
	await write(bob, 'Still here.');
	await shows(alice, 'Still here.');
	await opens(bob, '#settings', 'settings-dialog');
	await listed(bob, 2);
	assert.equal((await row(bob, other.url)).tag, 'in use');
	for (const page of [alice, bob]) {
		await page.browserContext().close();
	}
});
