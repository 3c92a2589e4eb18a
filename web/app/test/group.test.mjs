// A group that was made with the Go SDK, in the app.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { opens, person, settled, shows, start, write } from './browser.mjs';

let world;
before(async () => {
	world = await start();
}, { timeout: 180_000 });
after(() => world?.stop());

test('a group of the Go SDK works in the app, in both directions', { timeout: 180_000 }, async () => {
	const bob = await person(world);
	await opens(bob, '#settings', 'settings-dialog');
	await bob.waitForFunction(() => document.querySelectorAll('#server dd').length === 7, { timeout: 30_000 });
	const [link, key] = await bob.evaluate(() => [document.querySelector('#my-link').value, document.querySelectorAll('#server dd')[1].textContent]);
	await bob.click('#settings-dialog .close');
	const alice = world.program('./testutil/groupmember', '--door', world.url, '--push-key', key, '--contact', link, '--name', 'Go choir');
	await alice.line('invited:');
	await bob.waitForSelector('#invitations li', { timeout: 30_000 });
	assert.match(await bob.$eval('#invitations p', (p) => p.textContent), /invites you to the group Go choir\.$/);
	await bob.click('#invitations .chief');
	await settled(bob, 'Go choir');
	alice.say('say Who comes on Friday?');
	await alice.line('written:');
	await shows(bob, 'Who comes on Friday?');

	// He looks elsewhere: what mentions nobody rings nobody.
	await bob.evaluate(() => document.querySelector('#back').click());
	alice.say('say I can bring a piano.');
	await alice.line('written:');
	alice.say('mention Bob, will you sing?');
	await alice.line('written:');
	await bob.waitForFunction(() => document.querySelector('.unread')?.textContent === '1', { timeout: 30_000 });
	await bob.click('#chats button');
	await shows(bob, 'Bob, will you sing?');
	await shows(bob, 'I can bring a piano.');
	assert.deepEqual(await bob.$$eval('#messages .mention .text', (all) => all.map((m) => m.textContent)), ['Bob, will you sing?']);
	await bob.click('#mentions button');
	await bob.keyboard.type('with pleasure.');
	await bob.keyboard.press('Enter');
	const said = /^@[0-9a-f]{6} with pleasure\.$/;
	await bob.waitForFunction(() => [...document.querySelectorAll('#messages .mine')].some((m) => !m.querySelector('.state')), { timeout: 30_000 });
	await write(bob, 'And loud.');
	await bob.waitForFunction(() => document.querySelectorAll('#messages .mine').length === 2 && !document.querySelector('#messages .state'), { timeout: 30_000 });
	alice.say('heard');
	const { passed } = await alice.line('that is all');
	const heard = passed.split('\n').filter((l) => l.startsWith('heard: ')).map((l) => l.slice('heard: '.length));
	assert.equal(heard.length, 2, passed);
	assert.ok(heard.some((h) => said.test(h)) && heard.includes('And loud.'), passed);
	await alice.stop();
	await bob.browserContext().close();
});
