import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Attention, chatLink, decide, formatLink, LinkError, MemoryJournal, parseLink } from '../src/inbox/index.js';
import { chatId } from '../src/device/index.js';
import { type Journal } from '../src/inbox/index.js';
import { readJson, writers } from './support.js';
import { chatOf, type ChatVector, type History, inboxVectors, run } from './vectors-inbox.js';

interface Vectors {
	decisions: string[];
	links: { text: string; error?: string; link?: string }[];
	chats: ChatVector[];
	histories: History[];
}

const all = readJson<Vectors>('web/vectors/testdata/go/inbox.json');

test('the whole table of what is shown is that of Go', () => {
	assert.deepEqual([0, 1, 2, 3].map((attention) => Array.from({ length: 64 }, (_, bits) => {
		const [read, own, muted, blocked, lost, news] = [0, 1, 2, 3, 4, 5].map((n) => ((bits >> n) & 1) === 1) as [boolean, boolean, boolean, boolean, boolean, boolean];
		const d = decide(attention as Attention, { read, own, muted, blocked, lost, news });
		assert.ok(!(d.read && d.manner !== 0));
		return d.read ? 'r' : String(d.manner);
	}).join('')), all.decisions);
});

test('links are read as Go reads them', () => {
	assert.ok(all.links.length > 30);
	for (const { text, error, link } of all.links) {
		if (error) {
			assert.throws(() => parseLink(text), (e: unknown) => e instanceof LinkError && e.code === error, JSON.stringify(text));
		} else {
			assert.equal(formatLink(parseLink(text)), link, text);
		}
	}
});

test('chats are called as in Go', () => {
	for (const v of all.chats) {
		assert.equal(chatId(chatOf(v)), v.id, v.name);
		assert.equal(formatLink(parseLink(chatLink(v.id))), chatLink(v.id));
	}
	assert.throws(() => chatId({ name: 'sealed', topic: new Uint8Array(4), key: {} as CryptoKey }), TypeError);
});

for (const writer of writers) {
	for (const history of readJson<Vectors>(`web/vectors/testdata/${writer}/inbox.json`).histories) {
		test(`what ${writer} wrote: ${history.name}`, async () => {
			(await run(history)).forEach((got, at) => assert.deepEqual(got, history.steps[at]!.want, `step ${at}`));
		});
	}
}

test('a journal that was written anew has the same inbox', async () => {
	for (const history of all.histories) {
		// Each step by an inbox of its own, which knows the others' by the journal alone.
		const steps = history.steps.flatMap((s) => [s, { reopen: true, want: {} }]);
		const [once, often] = [await run({ ...history, steps }), await run({ ...history, steps }, new Rewriting())];
		assert.deepEqual(often, once, history.name);
	}
});

/** A journal of which only what makes the inbox anew is kept. */
class Rewriting extends MemoryJournal {
	override async update(...[after, change]: Parameters<Journal['update']>): Promise<number> {
		const { Model } = await import('../src/inbox/model.js');
		const model = new Model();
		return super.update(0, (all) => {
			all.forEach((w) => model.apply(w.record));
			const { records } = change(all.filter((w) => w.number > after));
			records.forEach((r) => model.apply(structuredClone(r)));
			return { records: model.records(), inPlace: true };
		});
	}
}

test('the vectors in the repository are those that this code writes', async () => {
	assert.deepEqual(readJson('web/vectors/testdata/typescript/inbox.json'), JSON.parse(JSON.stringify(await inboxVectors())));
});
