import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageChannel, Worker } from 'node:worker_threads';
import { filled, failureOf } from './support.js';
import { mine, mineHere, type Port, proofOfWork, serveMiner, workerMiner } from '../src/whisper/index.js';

const work = { fields: filled(1000, 7), ttl: 50 };
// 2^256 hashes would not do.
const impossible = 1e77;

test('mining finds the first nonce that will do, wherever it is done', async () => {
	const nonce = await mine(work, 0.1);
	assert.ok(proofOfWork(work, nonce) >= 0.1);
	for (let n = 0n; n < nonce; n++) {
		assert.ok(proofOfWork(work, n) < 0.1);
	}
	assert.equal(await mineHere(work, 0.1), nonce);
	assert.equal(await mine(work, 0), 0n);
	assert.equal(await mine(work, -1), 0n);
});

test('work that no nonce can do is refused at once', async () => {
	assert.equal(await failureOf(() => mine(work, Infinity)), 'work');
	assert.equal(await failureOf(() => mine(work, NaN)), 'work');
	assert.equal(await failureOf(() => mine(work, impossible)), 'work');
});

test('a signal ends the search, also one that was given before', async () => {
	const reason = new Error('changed my mind');
	const abort = new AbortController();
	const mining = failureOf(() => mine(work, 1e50, { signal: abort.signal, slice: 1 }));
	abort.abort(reason);
	assert.equal(await mining, 'work');
	assert.equal(await failureOf(() => mine(work, 1e50, { signal: AbortSignal.abort() })), 'work');
});

test('the thread is free for others while it mines', async () => {
	const abort = new AbortController();
	const mining = failureOf(() => mine(work, 1e50, { signal: abort.signal, slice: 1 }));
	for (let turns = 0; turns < 5; turns++) {
		await new Promise((resolve) => setTimeout(resolve));
	}
	abort.abort();
	assert.equal(await mining, 'work');
});

test('two who mine through one port get each their own answer, and can give up each their own', async () => {
	const { port1, port2 } = new MessageChannel();
	try {
		serveMiner(port2 as unknown as Port);
		const miner = workerMiner(port1 as unknown as Port);
		const abort = new AbortController();
		const hopeless = failureOf(() => miner(work, 1e50, abort.signal));
		const other = { fields: filled(500, 9), ttl: 10 };
		const [one, two] = await Promise.all([miner(work, 0.1), miner(other, 0.1)]);
		assert.deepEqual([one, two], [await mine(work, 0.1), await mine(other, 0.1)]);
		abort.abort();
		assert.equal(await hopeless, 'work');
		assert.equal(await failureOf(() => miner(work, 1e50, AbortSignal.abort())), 'work');
		assert.equal(await failureOf(() => miner(work, impossible)), 'work');
	} finally {
		port1.close();
	}
});

test('a worker that runs the package\'s script mines', async () => {
	// Node's workers speak through parentPort; a browser's through the global scope.
	const script = new URL('../src/mine-worker.js', import.meta.url);
	const shim = `
		import { parentPort } from 'node:worker_threads';
		globalThis.postMessage = (m) => parentPort.postMessage(m);
		globalThis.addEventListener = (type, listener) => parentPort.on(type, (data) => listener({ data }));
		await import(${JSON.stringify(script.href)});
	`;
	const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(shim)}`));
	const port: Port = {
		postMessage: (m) => worker.postMessage(m),
		addEventListener: (type, listener) => worker.on(type, (data) => listener({ data } as MessageEvent)),
	};
	try {
		assert.equal(await workerMiner(port)(work, 0.1), await mine(work, 0.1));
	} finally {
		await worker.terminate();
	}
});

