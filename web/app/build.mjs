// Bundles the app into dist, which is committed: the Go build embeds it and needs no Node. With
// --check it only tells whether dist is what the sources make.
import { build } from 'esbuild';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const check = process.argv.includes('--check');
const out = check ? mkdtempSync(join(tmpdir(), 'app')) : 'dist';
if (!check) {
	rmSync(out, { recursive: true, force: true });
}
await build({
	entryPoints: { app: 'src/page.ts', sw: 'src/sw.ts', mine: 'src/mine.ts' },
	outdir: out, bundle: true, format: 'iife', target: 'es2022', minify: true, legalComments: 'eof', charset: 'utf8',
});
cpSync('static', out, { recursive: true });
if (check) {
	const names = (dir) => readdirSync(dir).sort();
	const same = names(out).join() === names('dist').join() && names(out).every((name) => readFileSync(join(out, name)).equals(readFileSync(join('dist', name))));
	rmSync(out, { recursive: true });
	if (!same) {
		console.error('web/app/dist is not what its sources make: run npm run build there');
		process.exit(1);
	}
}
