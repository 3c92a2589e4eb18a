// The examples of the README are compiled and run as in an app: against what is published,
// under the package's own name.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readText, root } from './support.js';

const directory = new URL('web/client/build/readme/', root);

// What an example leaves to the reader's app.
const given: Record<string, string> = {
	'no-run': `
		import type { Candidate, Chat, Device as Former, Transport } from 'whisperpush-client';
		declare const draft: import('whisperpush-client/whisper').Draft;
		declare const pushKey: string, transport: Transport, chats: Chat[];
		declare const identity: Uint8Array, bob: string, invite: (to: string, payload: Uint8Array) => void;
		declare const subscription: PushSubscription;
		declare const kept: readonly Candidate[], former: Former, keep: (to: Former) => Promise<void>;
		interface PushEvent { data?: { text(): string }; waitUntil(promise: Promise<void>): void }
		declare const self: {
			registration: ServiceWorkerRegistration;
			addEventListener(type: 'push', listener: (event: PushEvent) => void): void;
		};
	`,
	browser: '',
	walkthrough: `
		import { strict as assert } from 'node:assert';
		import type { Transport } from 'whisperpush-client';
		import { enode, nextPush, notifications, notify, pushKey, server, subscription } from '../test/walkthrough.js';
		const transport = server as unknown as Transport;
		process.on('exit', (code) => {
			assert.deepEqual([code, notifications, server.posted.length], [0, ['family: Dinner is at seven.'], 1]);
		});
	`,
};

test('the examples of the README compile and run', () => {
	rmSync(directory, { recursive: true, force: true });
	mkdirSync(directory, { recursive: true });
	const blocks = [...readText('web/client/README.md').matchAll(/^```ts( no-run| browser| walkthrough)?\n(.*?)^```/gms)];
	assert.ok(blocks.length > 0);
	const declared = blocks.map(([, how, code], i) => {
		const name = `example${i}.ts`;
		writeFileSync(new URL(name, directory), (how ? given[how.trim()]! : '') + code! + '\nexport {};\n');
		return { name, how };
	});
	writeFileSync(
		new URL('tsconfig.json', directory),
		JSON.stringify({
			extends: '../../tsconfig.json',
			compilerOptions: {
				rootDir: '.',
				outDir: '.',
				noUnusedLocals: false,
			},
			include: ['*.ts'],
			exclude: [], // by itself it leaves out where the output goes
		}),
	);
	const compiler = fileURLToPath(new URL('web/client/node_modules/typescript/bin/tsc', root));
	const compiled = spawnSync(process.execPath, [compiler, '-p', fileURLToPath(directory)], { encoding: 'utf8' });
	assert.equal(compiled.status, 0, compiled.stdout + compiled.stderr);
	for (const { name, how } of declared) {
		if (how === ' no-run' || how === ' browser') {
			continue;
		}
		const script = fileURLToPath(new URL(`${name.replace('.ts', '.js')}`, directory));
		const ran = spawnSync(process.execPath, [script], { encoding: 'utf8', cwd: fileURLToPath(new URL('web/client/', root)) });
		assert.equal(ran.status, 0, ran.stdout + ran.stderr);
	}
});
