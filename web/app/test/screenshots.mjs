// Writes pictures of the app, as it looks on a desktop and on a phone, into the directory that is named.
import { join } from 'node:path';
import { join_, person, shows, start, write } from './browser.mjs';

const [directory] = process.argv.slice(2);
if (!directory) {
	console.error('usage: node screenshots.mjs DIRECTORY');
	process.exit(1);
}
const world = await start();
try {
	const alice = await person(world);
	const bob = await person(world, { viewport: { width: 390, height: 780, deviceScaleFactor: 2, isMobile: true, hasTouch: true }, dark: true });
	for (const name of ['Rowing club', 'Work', 'Family']) {
		await join_(alice, name, 'a secret of ' + name);
	}
	await join_(bob, 'Family', 'a secret of Family');
	for (const [from, text] of [
		[bob, 'When do we eat?'], [alice, 'Dinner is at seven.'], [bob, 'Shall I bring bread?'], [alice, 'Please do, and something for the cat.'], [bob, 'Done. See you then!'],
	]) {
		await write(from, text);
		await shows(alice, text);
		await shows(bob, text);
	}
	await bob.evaluate(() => (location.hash = 'join=Work&with=' + encodeURIComponent('a secret of Work')));
	await bob.waitForFunction(() => document.querySelector('#title').textContent === 'Work' && document.querySelector('#status').textContent === '');
	await write(bob, 'The release is out.');
	await alice.waitForSelector('.unread');
	await alice.screenshot({ path: join(directory, 'app-desktop.png') });
	await bob.evaluate(() => [...document.querySelectorAll('#chats button')].find((b) => b.textContent.startsWith('Family')).click());
	await shows(bob, 'Done. See you then!');
	await bob.screenshot({ path: join(directory, 'app-phone.png') });
} finally {
	await world.stop();
}
