// Links that are read by the camera and in a file, and what waits to be sent and is sent when no window is open.
// The browser has no decoder for pictures on every platform: in its place is another one. The camera is a film of a code.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import qrcode from 'qrcode-generator';
import { chromium, join_, opens, person, settled, shows, start, write } from './browser.mjs';

const directory = mkdtempSync(join(tmpdir(), 'qr'));
const link = `https://elsewhere.example/#join=film&key=${'5a'.repeat(32)}`;

/** A film of one picture, in YUV4MPEG2: a code, dark on light. */
function film(text) {
	const code = qrcode(0, 'M');
	code.addData(text, 'Byte');
	code.make();
	const [width, height, scale, size] = [640, 480, 8, code.getModuleCount()];
	const luma = Buffer.alloc(width * height, 235);
	const [left, top] = [(width - size * scale) >> 1, (height - size * scale) >> 1];
	for (let y = 0; y < size * scale; y++) {
		for (let x = 0; x < size * scale; x++) {
			if (code.isDark(Math.floor(y / scale), Math.floor(x / scale))) {
				luma[(top + y) * width + left + x] = 16;
			}
		}
	}
	const frame = Buffer.concat([Buffer.from('FRAME\n'), luma, Buffer.alloc((width * height) / 2, 128)]);
	return Buffer.concat([Buffer.from(`YUV4MPEG2 W${width} H${height} F10:1 Ip A1:1 C420\n`), ...Array(10).fill(frame)]);
}

let world;
before(async () => {
	writeFileSync(join(directory, 'camera.y4m'), film(link));
	world = await start(() => chromium('--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-video-capture=${join(directory, 'camera.y4m')}`));
}, { timeout: 180_000 });
after(async () => {
	await world?.stop();
	rmSync(directory, { recursive: true });
});

const decoder = readFileSync(createRequire(import.meta.url).resolve('jsqr'), 'utf8');

/** Gives a window a decoder, as browsers on telephones have one. */
async function decodes(page) {
	await page.evaluateOnNewDocument(decoder + `;window.BarcodeDetector = class {
		async detect(source) {
			const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
			const context = Object.assign(document.createElement('canvas'), { width, height }).getContext('2d');
			context.drawImage(source, 0, 0);
			const found = jsQR(context.getImageData(0, 0, width, height).data, width, height);
			return found ? [{ rawValue: found.data }] : [];
		}
	};`);
	await page.reload();
	await page.waitForSelector('body[data-ready=yes]', { timeout: 30_000 });
}

test('a link is read by the camera, which is let go of then, and in a picture', { timeout: 120_000 }, async () => {
	const [alice, bob] = [await person(world, { permissions: ['notifications', 'camera'] }), await person(world)];
	await decodes(alice);
	await opens(alice, '#add', 'add-dialog');
	assert.equal(await alice.$eval('#scan', (row) => row.hidden), false);
	await alice.evaluate(() => {
		const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
		navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await ask(wanted));
	});
	await alice.click('#scan-camera');
	await settled(alice, 'film');
	assert.deepEqual(await alice.evaluate(() => [window.stream.getTracks().map((t) => t.readyState), document.querySelector('#camera').hidden]), [['ended'], true]);
	await bob.goto(`${world.url}/${link.slice(link.indexOf('#'))}`);
	await settled(bob, 'film');
	await bob.waitForSelector('body[data-ready=yes]');
	await write(alice, 'Scanned.');
	await shows(bob, 'Scanned.');

	await opens(bob, '#settings', 'settings-dialog');
	await bob.click('#settings-dialog summary');
	await (await bob.waitForSelector('#my-code svg', { visible: true })).screenshot({ path: join(directory, 'bob.png') });
	await opens(alice, '#add', 'add-dialog');
	await (await alice.$('#scan-picture')).uploadFile(join(directory, 'bob.png'));
	const chat = await bob.$eval('#my-key', (field) => field.value.slice(4, 10));
	await settled(alice, chat);
	await opens(alice, '#add', 'add-dialog');
	await (await alice.$('#scan-picture')).uploadFile(join(directory, 'camera.y4m'));
	await alice.waitForFunction(() => document.querySelector('#status').textContent.startsWith('Reading the picture: '), { timeout: 30_000 });
	for (const page of [alice, bob]) {
		assert.deepEqual(page.problems, []);
		await page.browserContext().close();
	}
});

test('what was written offline is sent by the service worker when no window is open', { timeout: 120_000 }, async () => {
	const [alice, bob] = [await person(world), await person(world)];
	await join_(alice, 'sync', 'our secret');
	await join_(bob, 'sync', 'our secret');
	await alice.evaluate(() => navigator.serviceWorker.ready);
	const debug = await alice.createCDPSession();
	const registered = new Promise((resolve) => {
		debug.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => registrations.length > 0 && resolve(registrations[0].registrationId));
	});
	await debug.send('ServiceWorker.enable');
	const registrationId = await registered;
	await alice.setOfflineMode(true);
	await write(alice, 'From the tunnel.');
	await alice.waitForFunction(() => document.querySelector('#messages .state')?.textContent.includes('not sent yet'));
	await alice.goto('about:blank');
	await debug.send('ServiceWorker.dispatchSyncEvent', { origin: world.url, registrationId, tag: 'outbox', lastChance: false });
	await shows(bob, 'From the tunnel.');
	for (const page of [alice, bob]) {
		await page.browserContext().close();
	}
});
