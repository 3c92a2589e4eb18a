// What an app gets when it imports a part of the package, as a bundler follows it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readJson, root } from './support.js';

const dist = new URL('web/client/dist/', root);

/** The modules that one imports, those of others by their names. */
function reached(entry: string): Set<string> {
	const all = new Set<string>();
	const follow = (url: URL): void => {
		const name = url.href.slice(dist.href.length);
		if (all.has(name)) {
			return;
		}
		all.add(name);
		for (const [, target] of readFileSync(url, 'utf8').matchAll(/^(?:import|export)[^'";]*['"]([^'"]+)['"]/gm)) {
			target!.startsWith('.') ? follow(new URL(target!, url)) : all.add(target!);
		}
	};
	follow(new URL(entry, dist));
	return all;
}

const others = (modules: Set<string>): string[] => [...modules].filter((m) => m.startsWith('@') || m.startsWith('node:')).sort();

test('a part of the package brings nothing of the parts above it', () => {
	const whisper = reached('whisper/index.js');
	assert.deepEqual([...whisper].filter((m) => /^(push|mail|device)\//.test(m)), []);
	assert.deepEqual(others(whisper), [
		'@noble/ciphers/aes.js', '@noble/curves/secp256k1.js', '@noble/hashes/hmac.js', '@noble/hashes/sha2.js', '@noble/hashes/sha3.js', '@noble/hashes/utils.js',
	]);
	assert.deepEqual([...reached('push/index.js')].filter((m) => /^(mail|device)\//.test(m)), []);
	assert.deepEqual([...reached('mail/index.js')].filter((m) => /^(push|device)\//.test(m)), []);
	assert.deepEqual(others(reached('mine-worker.js')), ['@noble/hashes/sha3.js', '@noble/hashes/utils.js'], 'a worker that mines loads little');
});

test('nothing of Node is in the package, and every entry is there', () => {
	const { exports } = readJson<{ exports: Record<string, string> }>('web/client/package.json');
	for (const target of Object.values(exports)) {
		const modules = reached(target.replace('./dist/', ''));
		assert.ok(modules.size > 1);
		assert.deepEqual(others(modules).filter((m) => m.startsWith('node:')), []);
	}
	assert.ok(readFileSync(fileURLToPath(new URL('index.d.ts', dist)), 'utf8').length > 0);
});

test('the lockfile names no host that packages come from', () => {
	const { packages } = readJson<{ packages: Record<string, { resolved?: string; integrity?: string }> }>('web/client/package-lock.json');
	for (const [name, { resolved, integrity }] of Object.entries(packages)) {
		assert.equal(resolved, undefined, name);
		assert.ok(name === '' || integrity, `${name} is not held to its content`);
	}
});
