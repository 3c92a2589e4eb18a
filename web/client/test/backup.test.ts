import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { concat, utf8 } from '../src/bytes.js';
import { BackupError, type BackupErrorCode, openBackup, sealBackup } from '../src/backup.js';
import { spoiled } from './fuzz-support.js';

async function code(task: Promise<unknown>): Promise<BackupErrorCode | undefined> {
	try {
		await task;
		return undefined;
	} catch (error) {
		if (error instanceof BackupError) {
			return error.code;
		}
		throw error;
	}
}

test('a file is opened with its passphrase and no other, and tells damage from a wrong one', async () => {
	const content = utf8('what the app keeps');
	const file = await sealBackup(content, 'correct horse é');
	assert.deepEqual(await openBackup(file, 'correct horse é'), content);
	assert.deepEqual(await openBackup(file, 'correct horse e\u0301'), content, 'as another keyboard writes it');
	assert.equal(await code(openBackup(file, 'correct horse')), 'passphrase');
	assert.equal(await code(sealBackup(content, 'short')), 'weak');
	for (const at of [25, 40, 70, file.length - 40, file.length - 1]) {
		const spoiledFile = file.slice();
		spoiledFile[at]! ^= 1;
		assert.equal(await code(openBackup(spoiledFile, 'correct horse é')), 'damaged', `byte ${at}`);
	}
	for (const size of [19, 20, 21, 60, file.length - 1]) {
		assert.equal(await code(openBackup(file.subarray(0, size), 'correct horse é')), 'damaged', `${size} bytes`);
	}
	assert.equal(await code(openBackup(new Uint8Array(0), 'x')), 'not-ours');
	const later = file.slice();
	later[19] = 2;
	assert.equal(await code(openBackup(later, 'x')), 'later-version');
	// Who writes a file can have a checksum in it, and nobody's memory.
	const greedy = file.slice(0, -32);
	greedy[20] = 30;
	assert.equal(await code(openBackup(concat(greedy, sha256(greedy)), 'x')), 'damaged');
	const changed = file.slice(0, -32);
	changed[30]! ^= 1;
	assert.equal(await code(openBackup(concat(changed, sha256(changed)), 'correct horse é')), 'passphrase');
});

test('fuzz: files of strangers', async () => {
	const file = await sealBackup(utf8('x'), 'correct horse');
	await fc.assert(fc.asyncProperty(spoiled(file), async (bytes) => void (await code(openBackup(bytes, 'correct horse')))), { numRuns: 300 });
});
