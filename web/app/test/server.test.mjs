// The server in the settings: what it offers, another one at its address, and leaving it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { join_, opens, person, shows, start, write } from './browser.mjs';

let world;
before(async () => {
	world = await start();
}, { timeout: 180_000 });
after(() => world?.stop());

const offered = async (page) => {
	await page.waitForFunction(() => document.querySelectorAll('#server dd').length === 7, { timeout: 30_000 });
	return page.$$eval('#server dt', (terms) => Object.fromEntries(terms.map((t) => [t.textContent, t.nextElementSibling.textContent])));
};

test('another server at the address is told apart, and taken if the person wants it', { timeout: 180_000 }, async () => {
	const [alice, bob] = [await person(world), await person(world)];
	await join_(alice, 'server', 'our secret');
	await join_(bob, 'server', 'our secret');
	await write(alice, 'Before.');
	await shows(bob, 'Before.');
	await opens(alice, '#settings', 'settings-dialog');
	const before = await offered(alice);
	assert.equal(before.Address, world.url);
	assert.match(before.Key, /^0x0[23][0-9a-f]{64}$/);
	assert.match(before.Wakes, /push service of the browser/);
	assert.match(before.Limits, /chats; a registration lasts [0-9]+ days/);
	assert.equal(before.Price, 'free');
	assert.match(before['Answers within'], /^[0-9]+ ms$/);
	assert.equal(await alice.$eval('#use-server', (button) => button.hidden), true);
	await alice.click('#settings-dialog .close');

	await world.stopNode();
	await world.startNode('another');
	for (const page of [alice, bob]) {
		await page.waitForFunction(() => document.querySelector('#notices').textContent.includes('another server answers at this address'), { timeout: 90_000 });
		await opens(page, '#settings', 'settings-dialog');
		assert.notEqual((await offered(page)).Key, before.Key);
		const reloaded = page.waitForNavigation({ timeout: 60_000 });
		await page.click('#use-server');
		await reloaded;
		await page.waitForSelector('body[data-ready=yes]', { timeout: 60_000 });
		await page.waitForFunction(() => document.querySelector('#notices').textContent === '', { timeout: 60_000 });
		await page.click('#chats button');
		await shows(page, 'Before.');
	}
	await write(alice, 'And after.');
	await shows(bob, 'And after.');

	// Who leaves, leaves nothing behind.
	bob.on('dialog', (d) => d.accept());
	await opens(bob, '#settings', 'settings-dialog');
	const key = await bob.$eval('#my-key', (field) => field.value);
	const gone = bob.waitForNavigation({ timeout: 60_000 });
	await bob.click('#remove-all');
	await gone;
	await bob.waitForSelector('body[data-ready=yes]', { timeout: 60_000 });
	assert.equal(await bob.$('#chats button'), null);
	await opens(bob, '#settings', 'settings-dialog');
	assert.notEqual(await bob.$eval('#my-key', (field) => field.value), key);
	for (const page of [alice, bob]) {
		await page.browserContext().close();
	}
});
