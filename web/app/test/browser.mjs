// The node with its door and its app, an emulated Web Push service, and a browser: what the tests and the
// screenshots drive. Browsers are Debian's; CHROMIUM and FIREFOX name others.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import puppeteer from 'puppeteer-core';

const root = fileURLToPath(new URL('../../..', import.meta.url));

export class Program {
	constructor(binary, ...args) {
		this.process = spawn(binary, args, { stdio: ['pipe', 'pipe', 'pipe'] });
		this.log = '';
		this.process.stderr.on('data', (text) => (this.log += text));
		this.ended = new Promise((resolve) => this.process.on('close', resolve));
		this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
	}

	async line(start) {
		for (let passed = ''; ; ) {
			const { value, done } = await this.lines.next();
			if (done) {
				throw new Error(`it ended without "${start}":\n${this.log}`);
			}
			passed += value + '\n';
			if (value.startsWith(start)) {
				return { rest: value.slice(start.length).trim(), passed };
			}
		}
	}

	/** Writes a line to it. */
	say(line) {
		this.process.stdin.write(line + '\n');
	}

	async stop() {
		this.process.kill('SIGTERM');
		await this.ended;
	}
}

/** Chromium, which is told of pushes by the debugging protocol. */
export function chromium(...more) {
	const executablePath = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((p) => existsSync(p));
	if (!executablePath) {
		throw new Error('there is no Chromium: install Debian\'s package chromium, or name one in CHROMIUM');
	}
	return puppeteer.launch({
		executablePath,
		// A container has neither a user of its own nor a large /dev/shm.
		args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--disable-background-networking', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1', ...more],
	});
}

/** Where Firefox is: Debian's firefox-esr, or what FIREFOX names; undefined if there is none. */
export const firefoxPath = process.env.FIREFOX ?? ['/usr/bin/firefox-esr', '/usr/bin/firefox'].find((p) => existsSync(p));

/** Firefox, with the emulated service as its own push service: subscriptions and pushes are what they are for anybody. */
export function firefox(pushes) {
	return puppeteer.launch({
		browser: 'firefox',
		executablePath: firefoxPath,
		extraPrefsFirefox: {
			'dom.push.connection.enabled': true,
			'dom.push.serverURL': pushes.replace(/^http/, 'ws') + '/',
			'dom.push.testing.allowInsecureServerURL': true,
			'permissions.default.desktop-notification': 1,
			'alerts.useSystemBackend': false, // of a desktop, which there may not be
		},
	});
}

function build(binary, what) {
	const built = spawnSync('go', ['build', '-o', binary, what], { cwd: root, encoding: 'utf8' });
	if (built.status !== 0) {
		throw new Error(`go build: ${built.error?.message ?? built.stderr}`);
	}
}

/** Starts everything; `stop` ends it. `launch` is given the push service. */
export async function start(launch = () => chromium()) {
	const directory = mkdtempSync(join(tmpdir(), 'wnode'));
	const binary = join(directory, 'wnode');
	build(binary, './cmd/wnode');
	const service = new Program(binary, 'emulate', 'webpush', '--credentials', directory, '--devices', '0');
	const pushes = (await service.line('url:')).rest;
	const table = (await service.line('KeyFile')).passed;
	const config = join(directory, 'node.toml');
	writeFileSync(config, `[Node]\nListenAddr = "127.0.0.1:0"\nNAT = "none"\nNoDiscovery = true\n[Door]\nEnabled = true\nApp = true\nPort = 0\n[[Push.Provider]]\nType = "direct"\n${table}`);
	let node;
	let enode;
	/** Starts the node; with another name of its data it is another server. */
	const startNode = async (data = 'data') => {
		node = new Program(binary, '--datadir', join(directory, data), '--push', '--ipcdisable', '--config', config);
		const { rest, passed } = await node.line('door:');
		enode = /^enode: (.*)$/m.exec(passed)[1];
		return rest;
	};
	/** Starts another server, beside the first and its peer, whose door has a certificate that no browser knows: Chromium is told to take it. */
	const startAnother = async () => {
		const files = ['cert', 'key'].map((name) => join(directory, name + '.pem'));
		const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-out', files[0], '-keyout', files[1]], { encoding: 'utf8' });
		if (made.status !== 0) {
			throw new Error(`openssl: ${made.error?.message ?? made.stderr}`);
		}
		const text = readFileSync(config, 'utf8').replace('[Node]', `[Node]\nStaticNodes = ["${enode}"]`).replace(/Port = \d+/, `Port = 0\nCertFile = "${files[0]}"\nKeyFile = "${files[1]}"`);
		const file = join(directory, 'another.toml');
		writeFileSync(file, text);
		const another = new Program(binary, '--datadir', join(directory, 'beside'), '--push', '--ipcdisable', '--config', file);
		others.push(another);
		return { url: (await another.line('door:')).rest, stop: () => another.stop() };
	};
	const others = [];
	const url = await startNode();
	const text = readFileSync(config, 'utf8');
	writeFileSync(config, text.replace('Port = 0', `Port = ${new URL(url).port}`)); // where browsers know it
	const browser = await launch(pushes);
	return {
		url, browser, pushes, startNode, startAnother,
		/** Starts a program of the repository. */
		program: (what, ...args) => {
			const program = join(directory, 'program');
			build(program, what);
			return new Program(program, ...args);
		},
		stopNode: () => node.stop(),
		/** Makes a push subscription at the emulated service. */
		subscribe: async () => (await fetch(`${pushes}/-/devices`, { method: 'POST' })).json(),
		stop: async () => {
			await browser.close();
			await Promise.all([node, ...others].map((n) => n.stop()));
			await service.stop();
			rmSync(directory, { recursive: true, force: true });
		},
	};
}

/** The bodies of the pushes to a subscription, as they come. */
export async function* bodies(pushes, token, signal) {
	const response = await fetch(`${pushes}/-/pushes?token=${encodeURIComponent(token)}`, { signal });
	let rest = '';
	for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
		rest += chunk;
		for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
			yield Buffer.from(JSON.parse(rest.slice(0, end)).body, 'base64').toString();
			rest = rest.slice(end + 1);
		}
	}
}

/**
 * Opens the app, or another page of its origin, as a person of their own: nothing is shared with other windows.
 * `another` is the subscription that a service worker of another server gets.
 */
export async function person(world, { subscription, another, viewport = { width: 1100, height: 720 }, dark = false, path = '', permissions = ['notifications'] } = {}) {
	const context = await world.browser.createBrowserContext();
	subscription = subscription === undefined ? await world.subscribe() : subscription;
	await context.overridePermissions(world.url, permissions);
	const page = await context.newPage();
	page.problems = [];
	page.on('pageerror', (error) => page.problems.push(error.message));
	page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
	await page.setViewport(viewport);
	await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]);
	// The browser's own push service is on the internet. In its place is the emulated one; the
	// pushes that come to it are handed to the service worker by the debugging protocol.
	/** Does the same with another window of the person's. */
	page.subscribes = (window) => window.evaluateOnNewDocument((made, another) => {
		if (!window.ServiceWorkerRegistration) {
			return; // an empty page
		}
		const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
		const { get } = Object.getOwnPropertyDescriptor(ServiceWorkerRegistration.prototype, 'pushManager');
		const scopes = new WeakMap();
		Object.defineProperty(ServiceWorkerRegistration.prototype, 'pushManager', {
			get() {
				const manager = get.call(this);
				scopes.set(manager, new URL(this.scope).pathname);
				return manager;
			},
		});
		const name = (manager) => 'subscribed ' + scopes.get(manager);
		const of = (manager) => {
			const from = scopes.get(manager) === '/' ? made : another;
			return from && {
				endpoint: from.address, expirationTime: null, getKey: (key) => bytes(from.keys[key === 'p256dh' ? 0 : 1]),
				unsubscribe: async () => (localStorage.removeItem(name(manager)), true),
			};
		};
		PushManager.prototype.getSubscription = async function () {
			return localStorage.getItem(name(this)) ? of(this) : null;
		};
		PushManager.prototype.subscribe = async function () {
			if (!of(this)) {
				throw new Error('there is no push service');
			}
			localStorage.setItem(name(this), 'yes');
			return of(this);
		};
	}, subscription, another ?? subscription);
	await page.subscribes(page);
	await page.goto(world.url + path);
	if (path === '') {
		await page.waitForSelector('body[data-ready=yes]', { timeout: 30_000 });
	}
	return page;
}

/** Joins a chat by its name and password, and closes what tells of the link for others. */
export async function join_(page, name, password) {
	await page.click('#add');
	await page.type('#name', name);
	await page.type('#password', password);
	await page.keyboard.press('Enter');
	await page.waitForSelector('#invitation[open]', { timeout: 30_000 });
	await page.click('#invitation .close');
	await settled(page, name);
}

/** Waits until a chat is open and nothing is under way. */
export const settled = (page, title) =>
	page.waitForFunction((t) => document.querySelector('#title').textContent === t && document.querySelector('#status').textContent === '', { timeout: 30_000 }, title);

/** Presses what opens a dialog. */
export async function opens(page, selector, id) {
	await page.click(selector);
	await page.waitForSelector(`#${id}[open]`);
}

/** Writes into a field what it is to say. */
export async function fill(page, selector, text) {
	await page.$eval(selector, (field) => (field.value = ''));
	await page.type(selector, text);
}

/** Writes a message with the keyboard alone. */
export async function write(page, text) {
	await page.focus('#text');
	await page.keyboard.type(text);
	await page.keyboard.press('Enter');
}

export const shows = (page, text) =>
	page.waitForFunction((t) => [...document.querySelectorAll('#messages .text')].some((m) => m.textContent === t), { timeout: 30_000 }, text);

/** Waits until a message came to the browser, shown or not. */
export const came = (page, text) =>
	page.waitForFunction(async (t) => {
		const database = await new Promise((resolve) => (indexedDB.open('whisperpush-app').onsuccess = (event) => resolve(event.target.result)));
		const all = await new Promise((resolve) => (database.transaction('messages').objectStore('messages').getAll().onsuccess = (event) => resolve(event.target.result)));
		database.close();
		return all.some((m) => m.text === t);
	}, { timeout: 30_000, polling: 200 }, text);
