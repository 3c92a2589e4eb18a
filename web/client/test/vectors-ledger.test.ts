import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hex0x } from '../src/bytes.js';
import { decodeEvidence, encodeEvidence, type Evidence, whyUnproved } from '../src/device/index.js';
import { newSuccession } from '../src/push/index.js';
import { decodeSuccession, encodeSuccession } from '../src/push/succession.js';
import { publicKeyOf } from '../src/whisper/index.js';
import { runs } from './fuzz-support.js';
import { filled, plain, readJson } from './support.js';
import { histories, ledgerVectors, replay } from './vectors-ledger.js';

for (const history of histories()) {
	test(`a ledger as Go follows it: ${history.name}`, () => {
		replay(history).wants.forEach((got, at) => assert.deepEqual(got, history.steps[at]!.want, `step ${at}`));
	});
}

const files = readJson<{ evidence: string[] }>('web/vectors/testdata/typescript/ledger.json').evidence;

test('the vectors in the repository are those that this code writes', () => {
	assert.deepEqual(files, ledgerVectors().evidence);
	assert.ok(files.length >= 2);
});

const change = (bytes: Uint8Array): Uint8Array => bytes.map((b, i) => (i === 3 ? b ^ 1 : b));

test('evidence is what it was when it is read again, and whatever of it is changed convicts nobody', () => {
	for (const file of files) {
		const e = decodeEvidence(file);
		assert.equal(whyUnproved(e), undefined);
		assert.equal(encodeEvidence(e), file);
		const { after, page } = e;
		const worse: Partial<Evidence>[] = [
			{ pushKey: publicKeyOf(filled(32, 1)) }, { ledger: change(e.ledger) }, { leaves: [] }, { salt: change(e.salt) }, { hashes: [...e.hashes, filled(32, 1)] }, { hashes: e.hashes.slice(1) },
			{ after: { ...after, through: after.through + 1n } }, { after: { ...after, signature: change(after.signature) } }, { page: { ...page, upTo: page.upTo + 9n } },
			{ page: { ...page, at: 1n } }, { page: { ...page, hashes: [] } }, { page: { ...page, log: filled(16, 9) } }, { envelope: e.envelope.subarray(1) }, { before: after },
			{ successions: [newSuccession(filled(32, 1), filled(32, 2), 1n, 2n)] }, { pushKey: filled(3, 1) },
		];
		for (const w of worse) {
			assert.equal(typeof whyUnproved({ ...e, ...w }), 'string', Object.keys(w)[0]);
		}
	}
});

test('what a server has signed under a former push key counts until its overlap is over', () => {
	const s = newSuccession(filled(32, 1), filled(32, 2), 5n, 6n);
	assert.deepEqual(plain(decodeSuccession(encodeSuccession(s))), plain(s));
	const e = decodeEvidence(files[0]!);
	assert.equal(hex0x(decodeEvidence(encodeEvidence({ ...e, successions: [s] })).successions[0]!.next), hex0x(s.next));
});

test('fuzz: files of evidence', () => {
	const edit = fc.record({ at: fc.nat(files[0]!.length), with: fc.oneof(fc.constantFrom('0', '1', '"', '{', '}', '[', ']', ',', '-', '.', 'e', 'null', '0x'), fc.string({ maxLength: 3 })) });
	fc.assert(fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
		let file = files[0]!;
		for (const { at, with: text } of edits) {
			file = file.slice(0, at) + text + file.slice(at + 1);
		}
		try {
			const e = decodeEvidence(file);
			if (whyUnproved(e) === undefined) {
				assert.deepEqual(plain(e), plain(decodeEvidence(files[0]!)), 'nothing else convicts');
			}
		} catch (error) {
			assert.ok(error instanceof TypeError, String(error));
		}
	}), { numRuns: Math.min(runs.numRuns, 300) });
	assert.throws(() => decodeEvidence(' '.repeat((8 << 20) + 1)), TypeError);
});
