// Bytes that were good before something happened to them: what the Go code takes is
// taken, for the same, and what it refuses is refused, for the same reason.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, hex0x } from '../src/bytes.js';
import { type ErrorCode } from '../src/errors.js';
import * as mail from '../src/mail/index.js';
import * as push from '../src/push/index.js';
import { decodeEnvelopes, Envelope } from '../src/whisper/index.js';
import { failure, plain, readJson } from './support.js';
import { plainCursor, plainMail } from './vectors-mail.js';

interface Spoiled {
	decoder: string;
	input: string;
	code: ErrorCode | '';
	value?: unknown;
}

const decoders: Record<string, (bytes: Uint8Array) => unknown> = {
	envelope: (b) => ({ hash: hex0x(Envelope.decode(b).hash) }),
	envelopes: (b) => {
		const { envelopes, bad } = decodeEnvelopes(b);
		return { good: envelopes.length, bad };
	},
	request: (b) => plain(push.decodeRequest(b)),
	reply: (b) => plain(push.decodeReply(b)),
	offer: (b) => plain(push.decodeOffer(b)),
	mailRequest: (b) => plainMail(mail.decodeMailRequest(b)),
	plainRequest: (b) => plainMail(mail.decodePlainRequest(b)),
	complete: (b) => plainMail(mail.decodeComplete(b)),
	cursor: (b) => plainCursor(mail.decodeCursor(b)),
};

const all = readJson<Spoiled[]>('web/vectors/testdata/go/spoiled.json');

for (const [name, decode] of Object.entries(decoders)) {
	test(`spoiled bytes mean to ${name} what they mean in Go`, () => {
		const cases = all.filter((c) => c.decoder === name);
		assert.ok(cases.length > 20);
		for (const c of cases) {
			const input = fromHex(c.input);
			assert.equal(failure(() => decode(input)) ?? '', c.code, c.input);
			if (c.value !== undefined) {
				assert.deepEqual(decode(input), c.value, c.input);
			}
		}
	});
}

test('every spoiled vector is one that is tested', () => {
	assert.deepEqual(new Set(all.map((c) => c.decoder)), new Set(Object.keys(decoders)));
});
