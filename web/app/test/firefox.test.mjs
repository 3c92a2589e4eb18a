// The app in Firefox, with pushes all the way: the browser subscribes at the emulated service by its own protocol, the
// node's Web Push provider encrypts and signs, and the service worker is woken by what the browser decrypted.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { firefox, firefoxPath, join_, shows, start, write } from './browser.mjs';

const skip = firefoxPath ? false : 'there is no Firefox: install Debian\'s package firefox-esr, or name one in FIREFOX';

let world;
before(async () => {
	if (!skip) {
		world = await start(firefox);
	}
}, { timeout: 180_000 });
after(() => world?.stop());

/** Opens the app in a container of its own. */
async function open(context) {
	const page = await context.newPage();
	page.problems = [];
	page.on('pageerror', (error) => page.problems.push(error.message));
	await page.goto(world.url);
	await page.waitForSelector('body[data-ready=yes]', { timeout: 30_000 });
	return page;
}

/** What the service worker shows, once there is a notification with that title. */
async function notified(page, title) {
	for (const until = Date.now() + 30_000; ; ) {
		const shown = await page.evaluate(async () => {
			const registration = await navigator.serviceWorker.getRegistration();
			return (await registration.getNotifications()).map((n) => ({ title: n.title, body: n.body, chat: n.data?.chat }));
		});
		const found = shown.find((n) => n.title === title);
		if (found || Date.now() > until) {
			assert.ok(found, `no notification "${title}" among ${JSON.stringify(shown)}`);
			return found;
		}
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
}

test('a real push wakes the service worker, which shows the message', { skip, timeout: 120_000 }, async () => {
	const [alices, bobs] = [await world.browser.createBrowserContext(), await world.browser.createBrowserContext()];
	const bob = await open(bobs);
	await join_(bob, 'push', 'a secret of two');
	const chat = await bob.evaluate(() => document.querySelector('#chats button').dataset.chat);
	const subscription = await bob.evaluate(async () => {
		const registration = await navigator.serviceWorker.ready;
		return (await registration.pushManager.getSubscription())?.toJSON();
	});
	assert.ok(subscription?.endpoint.startsWith(world.pushes + '/push/'), `subscribed at ${subscription?.endpoint}`);
	await notified(bob, 'Notifications are on'); // the challenge came by a push, and was answered

	// No window of the app is open: another document of the same origin looks on.
	await bob.goto(world.url + '/style.css');
	const alice = await open(alices);
	await join_(alice, 'push', 'a secret of two');
	await write(alice, 'Dinner is at seven.');
	await shows(alice, 'Dinner is at seven.');
	const shown = await notified(bob, 'push');
	assert.match(shown.body, /Dinner is at seven\.$/);
	assert.equal(shown.chat, chat);

	// The window that is opened then has the message.
	await bob.goto(`${world.url}/#${chat}`);
	await bob.waitForSelector('body[data-ready=yes]', { timeout: 30_000 });
	await shows(bob, 'Dinner is at seven.');
	assert.deepEqual([...alice.problems, ...bob.problems], []);
});
