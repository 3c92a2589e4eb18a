import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, hex0x } from '../src/bytes.js';
import * as mail from '../src/mail/index.js';
import { filled, readJson, writers } from './support.js';
import { mailVectors, type MailVectors, plainMail } from './vectors-mail.js';

for (const writer of writers) {
	test(`the requests and end marks that ${writer} wrote are read, and written alike`, () => {
		const all = readJson<MailVectors>(`web/vectors/testdata/${writer}/mail.json`);
		assert.ok(all.requests.length >= 10);
		for (const v of all.requests) {
			const decode = (v.value as { form: string }).form === 'plain' ? mail.decodePlainRequest : mail.decodeMailRequest;
			const request = decode(fromHex(v.bytes));
			assert.deepEqual(plainMail(request), v.value, v.name);
			assert.equal(hex0x(mail.encodeMailRequest(request)), v.bytes, v.name);
		}
		assert.ok(all.completes.length >= 6);
		for (const v of all.completes) {
			const complete = mail.decodeComplete(fromHex(v.bytes));
			assert.deepEqual(plainMail(complete), v.value, v.name);
			assert.equal(hex0x(mail.encodeComplete(complete)), v.bytes, v.name);
		}
	});
}

test('the vectors in the repository are those that this code writes', () => {
	assert.deepEqual(readJson('web/vectors/testdata/typescript/mail.json'), JSON.parse(JSON.stringify(mailVectors())));
});

test('refusals tell what to do', () => {
	assert.equal(mail.refusalWord('busy: retry after 90 s: many'), 'busy');
	assert.equal(mail.refusalWord('expired: check the clock'), 'expired');
	assert.equal(mail.refusalWord('no'), undefined);
	assert.equal(mail.retryAfter('busy: retry after 90 s: many'), 90);
	assert.equal(mail.retryAfter('busy: retry after 4000000000 s: many'), 24 * 3600);
	assert.equal(mail.retryAfter('busy: retry after 5000000000 s: many'), 0);
	assert.equal(mail.retryAfter('busy: later'), 0);
	const c = { id: filled(32, 1), last: filled(32, 0), cursor: mail.zeroCursor, refusal: 'no\x1b[31m ä ' + 'x'.repeat(300) };
	const { refusal } = mail.decodeComplete(mail.encodeComplete(c));
	assert.ok(refusal.startsWith('no?[31m ? xxx') && refusal.length <= mail.maxRefusalText);
});

test('what a form has no room for is not left out in silence', () => {
	const r = mail.anything;
	for (const wrong of [
		{ ...r, form: 'classic' }, { ...r, form: 'classic', batch: false, limit: 1 }, { ...r, form: 'classic', batch: false, cursor: mail.since(1n) },
		{ ...r, form: 'fixed', batch: false, topics: [filled(4, 0)] }, { ...r, form: 'plain', hashes: [filled(32, 0)] },
		{ ...r, topics: Array.from({ length: 257 }, () => filled(4, 0)) }, { ...r, hashes: Array.from({ length: 65 }, () => filled(32, 0)) },
		{ ...r, lower: 2 ** 32 }, { ...r, limit: -1 }, { ...r, upper: 0.5 },
	] as mail.MailRequest[]) {
		assert.throws(() => mail.encodeMailRequest(wrong), RangeError);
	}
});
