// Writes web/vectors/testdata/typescript anew: `npm run vectors`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { root } from './support.js';
import { whisperVectors } from './vectors-whisper.js';

const directory = new URL('web/vectors/testdata/typescript/', root);
mkdirSync(directory, { recursive: true });

for (const [file, make] of [['whisper.json', whisperVectors]] as const) {
	writeFileSync(new URL(file, directory), JSON.stringify(await make(), null, '\t') + '\n');
}
