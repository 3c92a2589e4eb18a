import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bodies, came, fill, join_, opens, person, settled, shows, start, write } from './browser.mjs';

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

test('people have names, and can be blocked', { timeout: 120_000 }, async () => {
	const [alice, bob] = [await person(world), await person(world)];
	await join_(alice, 'names', 'our secret');
	await join_(bob, 'names', 'our secret');
	await opens(alice, '#settings', 'settings-dialog');
	await fill(alice, '#my-name', 'Alice\u202e');
	await alice.keyboard.press('Enter');
	await settled(alice, 'names');
	assert.equal(await alice.$eval('#my-name', (field) => field.value), 'Alice', 'what turns text is no part of a name');
	await alice.keyboard.press('Escape');
	await write(alice, 'It is me.');
	await shows(bob, 'It is me.');
	const author = () => bob.$eval('#messages .theirs .who button', (b) => b.textContent);
	const key = await alice.$eval('#my-key', (field) => field.value);
	assert.equal(await author(), `~Alice · ${key.slice(4, 10)}`, 'a name of one\'s own choice is told apart');

	await opens(bob, '#messages .theirs .who button', 'person-dialog');
	assert.equal(await bob.$eval('#person-key', (field) => field.value), key);
	await fill(bob, '#person-name', 'Alice from next door');
	await bob.keyboard.press('Enter');
	await bob.waitForFunction(() => document.querySelector('#messages .theirs .who button').textContent === 'Alice from next door');

	await opens(bob, '#messages .theirs .who button', 'person-dialog');
	await bob.click('#block');
	await bob.waitForFunction(() => document.querySelectorAll('#messages li').length === 0);
	await write(bob, 'Is anybody here?');
	await shows(alice, 'Is anybody here?');
	await write(alice, 'Do you not see me?');
	await bob.evaluate(() => document.querySelector('#back').click());
	await write(alice, 'Hello?');
	await shows(alice, 'Hello?');
	await came(bob, 'Hello?');

	// Unblocked again, nothing is lost, and nothing was counted.
	await opens(bob, '#settings', 'settings-dialog');
	await opens(bob, '#people button', 'person-dialog');
	await bob.click('#block');
	await bob.waitForFunction(() => !document.querySelector('#people .tag'));
	await bob.click('#settings-dialog .close');
	assert.equal(await bob.$('.unread'), null);
	await bob.click('#chats button');
	await shows(bob, 'Do you not see me?');
	await shows(bob, 'Hello?');
	for (const page of [alice, bob]) {
		assert.deepEqual(page.problems, []);
		await page.browserContext().close();
	}
});

test('a chat has a name of the person\'s own, is muted, and is left', { timeout: 120_000 }, async () => {
	const [alice, bob] = [await person(world), await person(world)];
	await join_(alice, 'rowing', 'our secret');
	await join_(bob, 'rowing', 'our secret');
	await opens(bob, '#details', 'chat-dialog');
	await fill(bob, '#chat-name', 'The eight');
	await bob.select('#mute', '3600000');
	await bob.click('#chat-form .chief');
	await settled(bob, 'The eight');
	await bob.waitForFunction(() => document.querySelector('#chats .tag')?.textContent === 'muted');
	await bob.evaluate(() => document.querySelector('#back').click()); // there is none to be seen on a desktop
	await write(alice, 'Tomorrow at six.');
	await shows(alice, 'Tomorrow at six.');
	await settled(alice, 'rowing');
	await bob.reload(); // the server does not ring for it: it comes with the history
	await bob.waitForSelector('body[data-ready=yes]', { timeout: 30_000 });
	await bob.waitForFunction(() => document.querySelector('.unread')?.textContent === '1' && document.title === 'Messages', { timeout: 30_000 });
	await bob.click('#chats button');
	await shows(bob, 'Tomorrow at six.');
	await opens(bob, '#details', 'chat-dialog');
	assert.match(await bob.$eval('#mute option:checked', (o) => o.textContent), /^Muted until /);
	await bob.select('#mute', '0');
	await bob.click('#chat-form .chief');
	await bob.waitForFunction(() => !document.querySelector('#chats .tag'));
	bob.on('dialog', (d) => d.accept());
	await opens(bob, '#details', 'chat-dialog');
	await bob.click('#leave');
	await bob.waitForFunction(() => document.querySelectorAll('#chats button').length === 0 && document.querySelector('#status').textContent === '');
	for (const page of [alice, bob]) {
		assert.deepEqual(page.problems, []);
		await page.browserContext().close();
	}
});

test('somebody is met by their link, and invited to a group in which only a mention rings', { timeout: 180_000 }, async () => {
	const [alice, bob] = [await person(world), await person(world, { dark: true })];
	for (const [page, name] of [[alice, 'Alice'], [bob, 'Bob']]) {
		await opens(page, '#settings', 'settings-dialog');
		await fill(page, '#my-name', name);
		await page.keyboard.press('Enter');
		await page.waitForFunction((n) => document.querySelector('#my-link').value.endsWith('name=' + n), {}, name);
	}
	const link = await bob.$eval('#my-link', (field) => field.value);
	await bob.click('#settings-dialog .close');
	await alice.click('#settings-dialog .close');

	await opens(alice, '#add', 'add-dialog');
	await fill(alice, '#their-link', link);
	await alice.keyboard.press('Enter');
	await settled(alice, 'Bob');
	await write(alice, 'Is it you?');
	await bob.waitForFunction(() => document.querySelector('#chats button')?.textContent.startsWith('Alice'), { timeout: 30_000 });
	await bob.click('#chats button');
	await shows(bob, 'Is it you?');
	await write(bob, 'It is me.');
	await shows(alice, 'It is me.');

	await opens(alice, '#add', 'add-dialog');
	await fill(alice, '#group-name', 'Choir');
	await alice.keyboard.press('Enter');
	await alice.waitForSelector('#chat-dialog[open]', { timeout: 30_000 });
	assert.deepEqual(await alice.$$eval('#members li', (all) => all.map((m) => m.textContent)), ['You admin']);
	await alice.click('#invite button');
	await alice.waitForFunction(() => document.querySelectorAll('#members li').length === 2, { timeout: 30_000 });
	await settled(alice, 'Choir');
	await alice.click('#chat-dialog .close');
	await bob.waitForSelector('#invitations li', { timeout: 30_000 });
	assert.match(await bob.$eval('#invitations p', (p) => p.textContent), /invites you to the group Choir\.$/);
	await bob.click('#invitations .chief');
	await settled(bob, 'Choir');
	assert.equal(await bob.$('#invitations li'), null);

	await write(alice, 'Who comes on Friday?');
	await shows(alice, 'Who comes on Friday?');
	await shows(bob, 'Who comes on Friday?'); // who looks at the group asks for it
	await bob.evaluate(() => [...document.querySelectorAll('#chats button')].find((b) => b.textContent.startsWith('Alice')).click());
	await settled(bob, 'Alice');
	await alice.click('#mentions button');
	await alice.keyboard.type('will you sing?');
	await alice.keyboard.press('Enter');
	await bob.waitForFunction(() => document.querySelector('.unread')?.textContent === '1' && document.title === '(1) Messages', { timeout: 30_000 });
	await bob.evaluate(() => [...document.querySelectorAll('#chats button')].find((b) => b.textContent.startsWith('Choir')).click());
	await shows(bob, '@Bob will you sing?');
	assert.match(await bob.$eval('#messages .mention .who', (who) => who.textContent), /mentions you$/);
	assert.equal(await bob.$$eval('#messages .theirs', (all) => all.length), 2, 'a message is one, in however many envelopes it comes');

	// Bob leaves, and Alice sees so.
	bob.on('dialog', (d) => d.accept());
	await opens(bob, '#details', 'chat-dialog');
	assert.equal(await bob.$eval('#invite', (form) => form.hidden), true, 'only an admin changes who is in it');
	await bob.click('#leave');
	await bob.waitForFunction(() => ![...document.querySelectorAll('#chats button')].some((b) => b.textContent.startsWith('Choir')), { timeout: 30_000 });
	await alice.waitForFunction(() => document.querySelector('#mentions').hidden, { timeout: 30_000 });
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
				return { title: found.title, body: found.body, data: found.data, actions: found.actions.map((a) => a.action) };
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
	assert.deepEqual(await shown('push'), { title: 'push', body: 'Wake up!', data: { chat }, actions: ['reply', 'read'] });

	// It is answered in the notification: no window opens. Nobody can press a button of the
	// system's, so the event is made here, with what a browser tells of it.
	const choose = (action, reply) => worker.evaluate(async (action, reply) => {
		const [notification] = (await self.registration.getNotifications()).filter((n) => n.title === 'push');
		const event = new NotificationEvent('notificationclick', { notification, action, reply });
		const work = [];
		Object.defineProperty(event, 'waitUntil', { value: (promise) => work.push(promise) });
		self.dispatchEvent(event);
		await Promise.all(work);
		return (await self.registration.getNotifications()).map((n) => n.title);
	}, action, reply);
	assert.ok(!(await choose('reply', 'I am up.')).includes('push'));
	await shows(alice, 'I am up.');
	await write(alice, 'Good.');
	await deliver();
	await shown('push');
	assert.ok(!(await choose('read')).includes('push'));
	await write(alice, 'Come down!');
	await deliver();
	await shown('push');

	await bob.goto(`${world.url}/#${chat}`); // where a tap leads to
	await shows(bob, 'I am up.');
	await shows(bob, 'Come down!');
	await bob.waitForFunction(async () => (await (await navigator.serviceWorker.ready).getNotifications()).every((n) => n.title !== 'push'));
	abort.abort();
	for (const page of [alice, bob]) {
		await page.browserContext().close();
	}
});
