// Writes web/vectors/testdata/typescript anew: `npm run vectors`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { root } from './support.js';
import { groupVectors } from './vectors-group.js';
import { inboxVectors } from './vectors-inbox.js';
import { ledgerVectors } from './vectors-ledger.js';
import { mailVectors } from './vectors-mail.js';
import { pushVectors } from './vectors-push.js';
import { whisperVectors } from './vectors-whisper.js';

const directory = new URL('web/vectors/testdata/typescript/', root);
mkdirSync(directory, { recursive: true });

const files = { 'whisper.json': whisperVectors, 'push.json': pushVectors, 'mail.json': mailVectors, 'group.json': groupVectors, 'inbox.json': inboxVectors, 'ledger.json': ledgerVectors };
const only = process.argv.slice(2);
for (const [file, make] of Object.entries(files)) {
	if (only.length === 0 || only.includes(file)) {
		writeFileSync(new URL(file, directory), JSON.stringify(await make(), null, '\t') + '\n');
	}
}
