// The window: chats on one side, the one that is open on the other.
import { workerMiner } from './client.js';
import { changes, Messenger } from './messenger.js';
import { type StoredChat } from './store.js';

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const status = (text: string): void => void (element('status').textContent = text);

let messenger: Messenger;
let open: string | undefined;

function make(name: string, properties: Record<string, string>, ...children: (Node | string)[]): HTMLElement {
	const made = document.createElement(name);
	Object.entries(properties).forEach(([key, value]) => made.setAttribute(key, value));
	made.append(...children);
	return made;
}

async function draw(): Promise<void> {
	const looking = document.visibilityState === 'visible' ? open : undefined;
	if (looking) {
		await messenger.store.markRead(looking);
	}
	const chats = await messenger.store.chats();
	const list = element('chats');
	const focused = (document.activeElement as HTMLElement | null)?.dataset['chat'];
	list.replaceChildren(...chats.map((chat) => {
		const button = make('button', { type: 'button', 'data-chat': chat.id, 'aria-current': String(chat.id === open) }, chat.name);
		if (chat.unread > 0) {
			button.append(make('span', { class: 'unread', 'aria-label': `${chat.unread} unread` }, String(chat.unread)));
		}
		button.addEventListener('click', () => void show(chat.id));
		return make('li', {}, button);
	}));
	if (focused) {
		list.querySelector<HTMLElement>(`[data-chat="${CSS.escape(focused)}"]`)?.focus();
	}
	const unread = chats.reduce((sum, c) => sum + c.unread, 0);
	document.title = unread > 0 ? `(${unread}) Messages` : 'Messages';
	await drawMessages(chats.find((c) => c.id === open));
}

async function drawMessages(chat: StoredChat | undefined): Promise<void> {
	element('empty').hidden = chat !== undefined;
	element('conversation').hidden = chat === undefined;
	document.body.classList.toggle('open', chat !== undefined);
	if (!chat) {
		return;
	}
	element('title').textContent = chat.name;
	const log = element('messages');
	const known = new Set([...log.children].map((c) => (c as HTMLElement).dataset['hash']));
	if (log.dataset['chat'] !== chat.id) {
		log.replaceChildren();
		log.dataset['chat'] = chat.id;
		known.clear();
	}
	for (const m of await messenger.store.messages(chat.id)) {
		if (known.has(m.hash)) {
			continue;
		}
		const time = new Date(m.at);
		const who = m.mine ? 'You' : m.sender ? m.sender.slice(4, 10) : 'Somebody';
		log.append(make('li', { 'data-hash': m.hash, class: m.mine ? 'mine' : 'theirs' },
			make('p', { class: 'who' }, who, ' ', make('time', { datetime: time.toISOString() }, time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }))),
			make('p', { class: 'text' }, m.text)));
	}
	log.lastElementChild?.scrollIntoView({ block: 'end' });
}

async function show(chat: string | undefined): Promise<void> {
	open = chat;
	history.replaceState(null, '', chat ? '#' + chat : location.pathname);
	await draw();
	if (chat) {
		element<HTMLInputElement>('text').focus();
		const worker = await navigator.serviceWorker?.getRegistration();
		(await worker?.getNotifications())?.filter((n) => (n.data as { chat?: string } | null)?.chat === chat).forEach((n) => n.close());
	}
}

/** Does something that the person asked for, and tells what went wrong. */
async function attempt(what: string, task: () => Promise<void>): Promise<void> {
	try {
		status(what + ' …');
		await task();
		status('');
	} catch (error) {
		console.warn(what, error);
		status(`${what}: ${error instanceof Error ? error.message : String(error)}`);
	}
}

async function join(name: string, password: string): Promise<void> {
	const chat = await messenger.join(name, password);
	await show(chat.id);
}

/** A link that lets others into a chat. What is behind # is sent to no server. */
const invitation = (name: string, password: string): string => `${location.origin}/#join=${encodeURIComponent(name)}&with=${encodeURIComponent(password)}`;

async function followLink(): Promise<void> {
	const parameters = new URLSearchParams(location.hash.slice(1));
	const [name, password] = [parameters.get('join'), parameters.get('with')];
	if (name && password) {
		history.replaceState(null, '', location.pathname);
		await attempt(`Joining ${name}`, () => join(name, password));
	} else if (location.hash.length > 1) {
		await show(location.hash.slice(1));
	}
}

async function start(): Promise<void> {
	const worker = new Worker('/mine.js');
	messenger = await Messenger.open(location.origin, workerMiner(worker));
	const registration = await navigator.serviceWorker?.register('/sw.js');
	await draw();

	changes.addEventListener('message', () => void refresh());
	navigator.serviceWorker?.addEventListener('message', ({ data }: MessageEvent<{ open?: string }>) => void show(data.open));
	document.addEventListener('visibilitychange', () => void draw());

	element<HTMLFormElement>('join').addEventListener('submit', (event) => {
		event.preventDefault();
		const [name, password] = ['name', 'password'].map((id) => element<HTMLInputElement>(id).value) as [string, string];
		void attempt('Joining', async () => {
			await join(name.trim(), password);
			element<HTMLFormElement>('join').reset();
			element<HTMLInputElement>('link').value = invitation(name.trim(), password);
			element('invitation').hidden = false;
		});
	});
	element<HTMLFormElement>('compose').addEventListener('submit', (event) => {
		event.preventDefault();
		const input = element<HTMLInputElement>('text');
		const text = input.value.trim();
		if (!text || !open) {
			return;
		}
		input.value = '';
		void attempt('Sending', async () => {
			const chat = (await messenger.store.chats()).find((c) => c.id === open);
			try {
				await messenger.send(chat!, text);
			} catch (error) {
				input.value ||= text; // it is not lost
				throw error;
			}
			await draw();
		});
	});
	element('back').addEventListener('click', () => void show(undefined));
	const notify = element<HTMLButtonElement>('notify');
	notify.hidden = !registration || !messenger.pushes || Notification.permission !== 'default';
	notify.addEventListener('click', () => void attempt('Turning on notifications', async () => {
		if ((await Notification.requestPermission()) !== 'granted') {
			throw new Error('the browser was told not to show any; its settings can change that');
		}
		await messenger.register(await messenger.subscribe(registration!));
		notify.hidden = true;
	}));

	await attempt('Connecting', async () => {
		const granted = registration && messenger.pushes && Notification.permission === 'granted';
		await messenger.register(granted ? await messenger.subscribe(registration).catch(() => null) : null);
		await messenger.take(await messenger.device.history());
	});
	await draw();
	document.body.dataset['ready'] = 'yes'; // what follows is for as long as the window is open
	await followLink();
	window.addEventListener('hashchange', () => void followLink());
	// One window at a time is rung; when it closes, the next one is.
	void navigator.locks.request('listen', () => listen());
}

async function listen(): Promise<void> {
	for (;;) {
		try {
			await messenger.device.listen(async (body) => {
				await messenger.receive(body, document.visibilityState === 'visible' ? open : undefined);
				await draw();
			});
		} catch (error) {
			console.warn('listening ended', error);
			await new Promise((resolve) => setTimeout(resolve, 30_000));
			await messenger.register(null).catch(() => undefined);
		}
	}
}

/** Draws what another window or the service worker changed: it may have added a chat. */
async function refresh(): Promise<void> {
	await messenger.refresh().catch(() => undefined);
	await draw();
}

start().catch((error: unknown) => status(`The server cannot be reached: ${error instanceof Error ? error.message : String(error)}`));
