// What of a person can be carried elsewhere: links as pictures, and the file of an export.
import assert from 'node:assert/strict';
import { createECDH } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import jsQR from 'jsqr';
import { fill, join_, opens, person, settled, shows, start, write } from './browser.mjs';

let world;
before(async () => {
	world = await start();
}, { timeout: 180_000 });
after(() => world?.stop());

/** What another program reads in a picture of the page. */
async function scanned(page, selector) {
	const element = await page.waitForSelector(selector, { visible: true });
	const picture = await element.screenshot({ encoding: 'base64' });
	const blank = await world.browser.newPage();
	const { width, height, data } = await blank.evaluate(async (base64) => {
		const bitmap = await createImageBitmap(await (await fetch('data:image/png;base64,' + base64)).blob());
		const context = Object.assign(document.createElement('canvas'), { width: bitmap.width, height: bitmap.height }).getContext('2d');
		context.drawImage(bitmap, 0, 0);
		return { width: bitmap.width, height: bitmap.height, data: [...context.getImageData(0, 0, bitmap.width, bitmap.height).data] };
	}, picture);
	await blank.close();
	return jsQR(Uint8ClampedArray.from(data), width, height)?.data;
}

test('links are pictures that other programs read, in the dark too', { timeout: 120_000 }, async () => {
	const alice = await person(world, { dark: true });
	await opens(alice, '#settings', 'settings-dialog');
	await alice.click('#settings-dialog summary');
	assert.equal(await scanned(alice, '#my-code svg'), await alice.$eval('#my-link', (field) => field.value));
	await alice.click('#settings-dialog .close');
	await join_(alice, 'family', 'our secret');
	await opens(alice, '#details', 'chat-dialog');
	await alice.click('#share summary');
	const link = await scanned(alice, '#chat-code svg');
	assert.match(link, /#join=family&key=[0-9a-f]{64}$/);
	assert.equal(await alice.$eval('#scan', (row) => row.hidden), !(await alice.evaluate(() => 'BarcodeDetector' in window)), 'only a browser that reads pictures offers to');

	// Who follows it is in the same chat as who knows the password.
	const bob = await person(world);
	await bob.goto(link);
	await settled(bob, 'family');
	await bob.waitForSelector('body[data-ready=yes]');
	await alice.click('#chat-dialog .close');
	await write(alice, 'Welcome!');
	await shows(bob, 'Welcome!');
	for (const page of [alice, bob]) {
		assert.deepEqual(page.problems, []);
		await page.browserContext().close();
	}
});

test('an export is restored elsewhere, with what came meanwhile; a wrong passphrase and a damaged file are told', { timeout: 180_000 }, async () => {
	const directory = mkdtempSync(join(tmpdir(), 'export'));
	const [alice, bob] = [await person(world), await person(world)];
	await join_(alice, 'moving', 'our secret');
	await join_(bob, 'moving', 'our secret');
	await write(alice, 'Before.');
	await shows(bob, 'Before.');
	await write(bob, 'Answered.');
	await shows(alice, 'Answered.');
	await opens(alice, '#settings', 'settings-dialog');
	const key = await alice.$eval('#my-key', (field) => field.value);
	const debug = await alice.createCDPSession();
	await debug.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: directory, browserContextId: alice.browserContext().id, eventsEnabled: true });
	const downloaded = new Promise((resolve) => debug.on('Browser.downloadProgress', ({ state }) => state === 'completed' && resolve()));
	await fill(alice, '#export-passphrase', 'correct horse');
	await alice.keyboard.press('Enter');
	await downloaded;
	const [name] = readdirSync(directory);
	const file = join(directory, name);
	assert.match(name, /^messages-.*\.backup$/);
	assert.ok(!readFileSync(file).includes(Buffer.from(key.slice(2), 'hex')) && !readFileSync(file).includes('Before.'));
	await alice.browserContext().close();
	await write(bob, 'While nobody was there.');
	await shows(bob, 'While nobody was there.');
	await settled(bob, 'moving');

	const again = await person(world);
	again.on('dialog', (d) => d.accept());
	await opens(again, '#settings', 'settings-dialog');
	const restore = async (path, passphrase) => {
		await (await again.$('#restore-file')).uploadFile(path);
		await fill(again, '#restore-passphrase', passphrase);
		await again.keyboard.press('Enter');
	};
	const told = (words) => again.waitForFunction((w) => document.querySelector('#status').textContent.includes(w), { timeout: 30_000 }, words);
	await restore(file, 'wrong horse');
	await told('the passphrase is not that of this file');
	const damaged = readFileSync(file);
	damaged[100] ^= 1;
	writeFileSync(join(directory, 'damaged'), damaged);
	await restore(join(directory, 'damaged'), 'correct horse');
	await told('the file is damaged');
	assert.notEqual(await again.$eval('#my-key', (field) => field.value), key);

	const reloaded = again.waitForNavigation({ timeout: 60_000 });
	await restore(file, 'correct horse');
	await reloaded;
	await again.waitForSelector('body[data-ready=yes]', { timeout: 60_000 });
	await again.click('#chats button');
	for (const text of ['Before.', 'Answered.', 'While nobody was there.']) {
		await shows(again, text);
	}
	assert.equal(await again.$$eval('#messages li', (all) => all.length), 3, 'each of them once');
	await write(again, 'I am back.');
	await shows(bob, 'I am back.');
	const authors = await bob.$$eval('#messages .theirs .who button', (all) => all.map((b) => b.textContent));
	assert.equal(new Set(authors).size, 1, 'it is the same person');
	await opens(again, '#settings', 'settings-dialog');
	assert.equal(await again.$eval('#my-key', (field) => field.value), key);
	for (const page of [again, bob]) {
		await page.browserContext().close();
	}
	rmSync(directory, { recursive: true });
});

test('what an earlier version kept is taken over, and keys lie there encrypted', { timeout: 120_000 }, async () => {
	const alice = await person(world);
	await join_(alice, 'old', 'our secret');
	const old = await person(world, { path: '/icon.svg' }); // of the same origin, and no app yet
	const identity = createECDH('secp256k1');
	identity.setPrivateKey(Buffer.alloc(32, 7));
	await old.evaluate(async () => {
		const material = await crypto.subtle.importKey('raw', new TextEncoder().encode('our secret'), 'PBKDF2', false, ['deriveKey']);
		const derivation = { name: 'PBKDF2', hash: 'SHA-256', salt: new Uint8Array(0), iterations: 65356 };
		const key = await crypto.subtle.deriveKey(derivation, material, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
		await new Promise((resolve, reject) => {
			const opening = indexedDB.open('whisperpush-app', 1);
			opening.onupgradeneeded = () => {
				opening.result.createObjectStore('chats', { keyPath: 'id' });
				opening.result.createObjectStore('messages', { keyPath: 'hash' }).createIndex('chat', ['chat', 'order']);
				opening.result.createObjectStore('settings');
			};
			opening.onerror = () => reject(opening.error);
			opening.onsuccess = () => {
				const transaction = opening.result.transaction(['chats', 'settings', 'messages'], 'readwrite');
				// The topic of "old": the first four bytes of its Keccak-256.
				transaction.objectStore('chats').put({ id: 'c', name: 'old', topic: Uint8Array.of(0xf6, 0x83, 0x2a, 0x2a), key, unread: 1, last: 1 });
				transaction.objectStore('messages').put({ hash: '0x01', chat: 'c', text: 'From before.', sender: '', mine: false, at: 1, order: 1 });
				transaction.objectStore('settings').put(new Uint8Array(32).fill(7), 'identity');
				transaction.oncomplete = () => {
					opening.result.close();
					resolve();
				};
			};
		});
	});
	await old.goto(world.url);
	await old.waitForSelector('body[data-ready=yes]', { timeout: 30_000 });
	await old.click('#chats button');
	await shows(old, 'From before.');
	await opens(old, '#settings', 'settings-dialog');
	assert.equal(await old.$eval('#my-key', (field) => field.value), '0x' + identity.getPublicKey('hex', 'compressed'));
	await old.click('#settings-dialog .close');
	await write(old, 'And after.');
	await shows(alice, 'And after.');

	const lying = await old.evaluate(async () => {
		const names = (await indexedDB.databases()).map((d) => d.name);
		const all = [];
		for (const name of names) {
			const database = await new Promise((resolve) => (indexedDB.open(name).onsuccess = (event) => resolve(event.target.result)));
			for (const table of database.objectStoreNames) {
				const values = await new Promise((resolve) => (database.transaction(table).objectStore(table).getAll().onsuccess = (event) => resolve(event.target.result)));
				all.push(...values);
			}
			database.close();
		}
		const seen = [];
		const walk = (value) => {
			if (value instanceof CryptoKey) {
				seen.push(`key, extractable: ${value.extractable}`);
			} else if (value instanceof Uint8Array) {
				seen.push([...value].map((b) => b.toString(16).padStart(2, '0')).join(''));
			} else if (typeof value === 'string') {
				seen.push(value);
			} else if (typeof value === 'object' && value !== null) {
				Object.entries(value).forEach(([name, v]) => (seen.push(name), walk(v)));
			}
		};
		all.forEach(walk);
		return seen;
	});
	assert.ok(lying.includes('key, extractable: false') && !lying.includes('key, extractable: true'));
	assert.ok(lying.length > 10 && !lying.some((v) => v.includes('07'.repeat(32))), 'the person\'s key');
	assert.ok(!lying.includes('registrationKey') && !lying.includes('heads'), 'the device\'s account, and the groups');
	for (const page of [alice, old]) {
		await page.browserContext().close();
	}
});
