// The examples of the README are compiled and run as in an app: against what is published,
// under the package's own name.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readText, root } from './support.js';

const directory = new URL('web/client/build/readme/', root);

test('the examples of the README compile and run', () => {
	rmSync(directory, { recursive: true, force: true });
	mkdirSync(directory, { recursive: true });
	const blocks = [...readText('web/client/README.md').matchAll(/^```ts( no-run)?\n(.*?)^```/gms)];
	assert.ok(blocks.length > 0);
	const declared = blocks.map(([, unrun, code], i) => {
		// What an example leaves to the reader's app is of any type.
		const given = unrun ? 'declare const draft: import("whisperpush-client/whisper").Draft;\n' : '';
		const name = `example${i}.ts`;
		writeFileSync(new URL(name, directory), given + code + '\nexport {};\n');
		return { name, run: !unrun };
	});
	writeFileSync(
		new URL('tsconfig.json', directory),
		JSON.stringify({
			extends: '../../tsconfig.json',
			compilerOptions: {
				rootDir: '.',
				outDir: 'out',
				noUnusedLocals: false,
			},
			include: ['*.ts'],
		}),
	);
	const compiler = fileURLToPath(new URL('web/client/node_modules/typescript/bin/tsc', root));
	const compiled = spawnSync(process.execPath, [compiler, '-p', fileURLToPath(directory)], { encoding: 'utf8' });
	assert.equal(compiled.status, 0, compiled.stdout + compiled.stderr);
	for (const { name, run } of declared) {
		if (!run) {
			continue;
		}
		const script = fileURLToPath(new URL(`out/${name.replace('.ts', '.js')}`, directory));
		const ran = spawnSync(process.execPath, [script], { encoding: 'utf8', cwd: fileURLToPath(new URL('web/client/', root)) });
		assert.equal(ran.status, 0, ran.stdout + ran.stderr);
	}
});
