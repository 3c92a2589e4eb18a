import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bodies, join_, person, shows, start, write } from './browser.mjs';

let world;
before(async () => {
	world = await start();
}, { timeout: 180_000 });
after(() => world?.stop());

test('two people talk, each in a window of their own', { timeout: 120_000 }, async () => {
	const [alice, bob] = [await person(world), await person(world, { dark: true })];
	await join_(alice, 'family', 'our secret');
	await join_(bob, 'family', 'our secret');
	await write(alice, 'Dinner is at seven.');
	await shows(alice, 'Dinner is at seven.');
	await shows(bob, 'Dinner is at seven.');
	await write(bob, '<b>Bread</b> & butter?');
	await shows(alice, '<b>Bread</b> & butter?');
	await shows(bob, '<b>Bread</b> & butter?');
	assert.equal(await alice.$$eval('#messages b', (all) => all.length), 0, 'what others write is text');
	assert.deepEqual(await bob.$$eval('#messages li', (all) => all.map((m) => m.className)), ['theirs', 'mine']);

	// Bob looks at another chat: what comes is counted, and read when he comes back.
	await bob.evaluate(() => (location.hash = 'join=work&with=another'));
	await bob.waitForFunction(() => document.querySelector('#title').textContent === 'work');
	await write(alice, 'At eight, sorry.');
	await bob.waitForFunction(() => document.querySelector('.unread')?.textContent === '1' && document.title === '(1) Messages', { timeout: 30_000 });
	await bob.evaluate(() => [...document.querySelectorAll('#chats button')].find((b) => b.textContent.startsWith('family')).click());
	await shows(bob, 'At eight, sorry.');
	await bob.waitForFunction(() => !document.querySelector('.unread') && document.title === 'Messages');

	// All of it is there after the window was closed, and without a network.
	await bob.evaluate(() => navigator.serviceWorker.ready);
	await bob.reload();
	await bob.waitForSelector('body[data-ready=yes]', { timeout: 30_000 });
	await shows(bob, 'At eight, sorry.');
	for (const page of [alice, bob]) {
		assert.deepEqual(page.problems, []);
		await page.browserContext().close();
	}
});

test('a push shows the message while no window is open, and a tap opens its chat', { timeout: 120_000 }, async () => {
	const abort = new AbortController();
	const subscription = await world.subscribe();
	const pushes = bodies(world.pushes, subscription.token, abort.signal);
	const alice = await person(world);
	const bob = await person(world, { subscription });
	await join_(alice, 'push', 'a secret of two');
	await join_(bob, 'push', 'a secret of two');
	const chat = await bob.evaluate(() => document.querySelector('#chats button').dataset.chat);
	await bob.evaluate(() => navigator.serviceWorker.ready);
	const target = await world.browser.waitForTarget((t) => t.type() === 'service_worker' && t.browserContext() === bob.browserContext());
	const worker = await target.worker();
	const debug = await bob.createCDPSession();
	const registered = new Promise((resolve) => {
		debug.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => registrations.length > 0 && resolve(registrations[0].registrationId));
	});
	await debug.send('ServiceWorker.enable');
	const registrationId = await registered;
	const deliver = async () => debug.send('ServiceWorker.deliverPushMessage', { origin: world.url, registrationId, data: (await pushes.next()).value });
	const shown = (wanted) => worker.evaluate(async (title) => {
		for (;;) {
			const all = await self.registration.getNotifications();
			const found = all.find((n) => n.title === title);
			if (found) {
				return { title: found.title, body: found.body, data: found.data };
			}
			await new Promise((resolve) => setTimeout(resolve, 50));
		}
	}, wanted);

	await deliver(); // the challenge, which the service worker answers
	assert.equal((await shown('Notifications are on')).title, 'Notifications are on');

	// No window is open any more: the stream is gone, and the push service is asked.
	await bob.goto('about:blank');
	await write(alice, 'Wake up!');
	await deliver();
	assert.deepEqual(await shown('push'), { title: 'push', body: 'Wake up!', data: { chat } });

	await bob.goto(`${world.url}/#${chat}`); // where a tap leads to
	await shows(bob, 'Wake up!');
	await bob.waitForFunction(async () => (await (await navigator.serviceWorker.ready).getNotifications()).every((n) => n.title !== 'push'));
	abort.abort();
	for (const page of [alice, bob]) {
		await page.browserContext().close();
	}
});
