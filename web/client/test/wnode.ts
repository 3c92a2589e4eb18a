// The node itself, built from this repository, with its door open, and an emulated Web Push
// service: what the tests over HTTPS talk to.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { root } from './support.js';

const binary = fileURLToPath(new URL('web/client/build/wnode', root));

/** A program of ours that runs until it is stopped. */
export class Program {
	readonly #process: ChildProcess;
	readonly #ended: Promise<unknown>;
	readonly #log: string[] = [];
	/** What it printed before the first empty line, and the lines after it. */
	readonly lines: AsyncIterator<string>;

	constructor(...args: string[]) {
		this.#process = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
		this.#process.stderr!.on('data', (text) => this.#log.push(String(text)));
		this.#ended = new Promise((resolve) => this.#process.on('close', resolve));
		this.lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
	}

	/** The value of the next line that begins with a name and a colon. */
	async value(name: string): Promise<string> {
		for (;;) {
			const { value, done } = await this.lines.next();
			if (done) {
				throw new Error(`it ended without "${name}":\n${this.#log.join('')}`);
			}
			if (String(value).startsWith(name + ':')) {
				return String(value).slice(name.length + 1).trim();
			}
		}
	}

	async stop(): Promise<void> {
		this.#process.kill('SIGTERM');
		await this.#ended;
	}
}

/** A device of the emulated Web Push service. */
export interface Subscribed {
	readonly token: string;
	readonly address: string;
	readonly keys: string[];
}

export class Town {
	readonly #directory: string;
	readonly #service: Program;
	#node: Program | undefined;
	#pushes = '';
	#table = '';
	door = '';
	pushKey = '';
	enode = '';

	private constructor() {
		const built = spawnSync('go', ['build', '-o', binary, './cmd/wnode'], { cwd: fileURLToPath(root), encoding: 'utf8' });
		if (built.status !== 0) {
			throw new Error(`go build: ${built.error?.message ?? built.stderr}`);
		}
		this.#directory = mkdtempSync(join(tmpdir(), 'wnode'));
		this.#service = new Program('emulate', 'webpush', '--credentials', this.#directory, '--devices', '0');
	}

	static async start(): Promise<Town> {
		const town = new Town();
		town.#pushes = await town.#service.value('url');
		for (let line = ''; !line.startsWith('KeyFile'); ) {
			line = String((await town.#service.lines.next()).value);
			town.#table += line + '\n';
		}
		await town.up();
		return town;
	}

	/** Starts the node, at the door's former port if it had one. */
	async up(): Promise<void> {
		const port = this.door ? new URL(this.door).port : '0';
		const config = join(this.#directory, 'node.toml');
		writeFileSync(config, `
			[Node]
			ListenAddr = "127.0.0.1:0"
			NAT = "none"
			NoDiscovery = true
			[Door]
			Enabled = true
			Port = ${port}
			[[Push.Provider]]
			Type = "direct"
			${this.#table}
		`);
		this.#node = new Program('--datadir', join(this.#directory, 'data'), '--push', '--ipcdisable', '--config', config);
		this.enode = await this.#node.value('enode');
		this.pushKey = await this.#node.value('pushkey');
		this.door = await this.#node.value('door');
	}

	/** Stops the node. */
	async down(): Promise<void> {
		await this.#node?.stop();
		this.#node = undefined;
	}

	/** Makes a push subscription. */
	async subscribe(): Promise<Subscribed> {
		return (await (await fetch(`${this.#pushes}/-/devices`, { method: 'POST' })).json()) as Subscribed;
	}

	/** The bodies of the pushes to a subscription, as they come. */
	async *pushes(to: Subscribed, signal: AbortSignal): AsyncGenerator<string> {
		const response = await fetch(`${this.#pushes}/-/pushes?token=${encodeURIComponent(to.token)}`, { signal });
		let rest = '';
		for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
			rest += chunk;
			for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
				const push = JSON.parse(rest.slice(0, end)) as { body: string };
				rest = rest.slice(end + 1);
				yield Buffer.from(push.body, 'base64').toString();
			}
		}
	}

	async stop(): Promise<void> {
		await this.down();
		await this.#service.stop();
		rmSync(this.#directory, { recursive: true, force: true });
	}
}
