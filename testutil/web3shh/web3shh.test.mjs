// web3-shh as its users have it from npm, against a node over WebSocket: what a program in JavaScript that was written
// for geth's namespace shh does.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const Shh = createRequire(import.meta.url)('web3-shh');
const root = fileURLToPath(new URL('../..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'web3shh'));
let node, url;

before(async () => {
	const binary = join(directory, 'wnode');
	const built = spawnSync('go', ['build', '-o', binary, './cmd/wnode'], { cwd: root, encoding: 'utf8' });
	assert.equal(built.status, 0, built.error?.message ?? built.stderr);
	node = spawn(binary, ['--datadir', join(directory, 'data'), '--addr', '127.0.0.1', '--port', '0', '--nat', 'none', '--nodiscover',
		'--ipcdisable', '--ws', '--ws.port', '0', '--ws.api', 'shh,push', '--log.format', 'json'], { stdio: ['ignore', 'ignore', 'pipe'] });
	const log = [];
	for await (const line of createInterface({ input: node.stderr })) {
		log.push(line);
		const ws = line.startsWith('{') && /\bws ([0-9.]+:[0-9]+)/.exec(String(JSON.parse(line).listening));
		if (ws) {
			url = 'ws://' + ws[1];
			break;
		}
	}
	assert.ok(url, log.join('\n'));
	node.stderr.resume(); // the log goes on
}, { timeout: 180_000 });

after(async () => {
	if (node && node.exitCode === null) {
		node.kill('SIGTERM');
		await once(node, 'exit');
	}
	rmSync(directory, { recursive: true, force: true });
});

/** A client of its own connection. */
function client(t) {
	const shh = new Shh(url);
	t.after(() => shh.currentProvider.disconnect(1000, 'done'));
	return shh;
}

/** The messages of a subscription, as they come. */
function listen(shh, criteria) {
	const come = [], wait = [];
	const give = (message) => (wait.shift() ?? ((m) => come.push(m)))(message);
	const subscription = shh.subscribe('messages', criteria);
	subscription.on('data', give);
	const ready = new Promise((resolve, reject) => subscription.on('connected', resolve).on('error', reject));
	return { ready, next: () => (come.length > 0 ? Promise.resolve(come.shift()) : new Promise((resolve) => wait.push(resolve))), end: () => new Promise((resolve, reject) => subscription.unsubscribe((error, ended) => (error ? reject(error) : resolve(ended)))) };
}

test('two programs write to each other', { timeout: 60_000 }, async (t) => {
	const [alice, bob] = [client(t), client(t)];
	assert.equal(await alice.getVersion(), '6.0');
	const info = await alice.getInfo();
	assert.ok(info.minPow > 0 && info.maxMessageSize > 1000, JSON.stringify(info));

	const [alices, bobs] = [await alice.newKeyPair(), await bob.newKeyPair()];
	assert.equal(await alice.hasKeyPair(alices), true);
	const [alicesKey, bobsKey] = [await alice.getPublicKey(alices), await bob.getPublicKey(bobs)];
	assert.match(bobsKey, /^0x04[0-9a-f]{128}$/);
	const [toBob, toAlice] = [listen(bob, { privateKeyID: bobs }), listen(alice, { privateKeyID: alices, sig: bobsKey })];
	await Promise.all([toBob.ready, toAlice.ready]);

	const hash = await alice.post({ pubKey: bobsKey, sig: alices, ttl: 10, topic: '0xffaadd11', payload: '0x68656c6c6f', powTime: 3, powTarget: 0.5 });
	const got = await toBob.next();
	assert.deepEqual({ payload: got.payload, sig: got.sig, topic: got.topic, hash: got.hash, to: got.recipientPublicKey },
		{ payload: '0x68656c6c6f', sig: alicesKey, topic: '0xffaadd11', hash, to: bobsKey });
	await bob.post({ pubKey: alicesKey, sig: bobs, ttl: 10, topic: '0xffaadd11', payload: '0x79657321', powTime: 3, powTarget: 0.5 });
	assert.equal((await toAlice.next()).payload, '0x79657321');
	assert.equal(await toBob.end(), true);
	assert.equal(await bob.deleteKeyPair(bobs), true);
});

test('a chat with a password, by a filter that is asked', { timeout: 60_000 }, async (t) => {
	const shh = client(t);
	const key = await shh.generateSymKeyFromPassword('kitchen');
	assert.equal((await shh.getSymKey(key)).length, 66);
	const filter = await shh.newMessageFilter({ symKeyID: key, topics: ['0x5a4ea131'] });
	const chat = listen(shh, { symKeyID: key, topics: ['0x5a4ea131'] });
	await chat.ready;
	const hash = await shh.post({ symKeyID: key, ttl: 10, topic: '0x5a4ea131', payload: '0x64696e6e6572', powTime: 3, powTarget: 0.5 });
	assert.equal((await chat.next()).hash, hash);
	assert.deepEqual((await shh.getFilterMessages(filter)).map((m) => m.payload), ['0x64696e6e6572']);
	assert.equal(await shh.deleteMessageFilter(filter), true);
	await assert.rejects(shh.getFilterMessages(filter), /filter not found/);
});
