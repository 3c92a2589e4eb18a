// The window: chats on one side, the one that is open on the other.
import { workerMiner } from './client.js';
import { setUpDetails, showChat, showPerson } from './dialogs.js';
import { attempt, dialog, element, input, make, onSubmit, setUpDialogs, status, words } from './dom.js';
import { changes, Messenger } from './messenger.js';
import { isMuted, senderOf, titleOf } from './names.js';
import { type StoredChat, type StoredMessage } from './store.js';

let messenger: Messenger;
let open: string | undefined;

async function draw(): Promise<void> {
	const looking = document.visibilityState === 'visible' ? open : undefined;
	if (looking) {
		await messenger.store.markRead(looking);
	}
	const chats = await messenger.store.chats();
	const list = element('chats');
	const focused = (document.activeElement as HTMLElement | null)?.dataset['chat'];
	list.replaceChildren(...chats.map((chat) => {
		const muted = isMuted(chat);
		const button = make('button', { type: 'button', 'data-chat': chat.id, 'aria-current': String(chat.id === open), class: muted ? 'muted' : '' },
			make('span', {}, titleOf(chat)));
		if (muted) {
			button.append(make('span', { class: 'tag' }, 'muted'));
		}
		if (chat.unread > 0) {
			button.append(make('span', { class: 'unread', 'aria-label': `${chat.unread} unread` }, String(chat.unread)));
		}
		button.addEventListener('click', () => void show(chat.id));
		return make('li', {}, button);
	}));
	if (focused) {
		list.querySelector<HTMLElement>(`[data-chat="${CSS.escape(focused)}"]`)?.focus();
	}
	const unread = chats.reduce((sum, c) => sum + (isMuted(c) ? 0 : c.unread), 0);
	document.title = unread > 0 ? `(${unread}) Messages` : 'Messages';
	await drawMessages(chats.find((c) => c.id === open));
}

// Calls follow one upon the other: each reads what there is, and the last one is right.
let drawing: Promise<void> = Promise.resolve();

async function drawMessages(chat: StoredChat | undefined): Promise<void> {
	element('empty').hidden = chat !== undefined;
	element('conversation').hidden = chat === undefined;
	document.body.classList.toggle('open', chat !== undefined);
	if (!chat) {
		return;
	}
	element('title').textContent = titleOf(chat);
	drawing = drawing.then(() => fill(chat)).catch((error: unknown) => console.warn('drawing', error));
	await drawing;
}

async function fill(chat: StoredChat): Promise<void> {
	const log = element('messages');
	const people = await messenger.store.people();
	const all = (await messenger.store.messages(chat.id)).filter((m) => !people.get(m.sender)?.blocked);
	if (log.dataset['chat'] !== chat.id) {
		log.replaceChildren();
		log.dataset['chat'] = chat.id;
	}
	const shown = new Map([...log.children].map((c) => [(c as HTMLElement).dataset['hash'], c as HTMLElement]));
	let added = false;
	let before: Element | null = null;
	for (const m of all) {
		const who = senderOf(m, people);
		const form = JSON.stringify([who, m.outgoing ?? null]); // what of a message may change
		const held = shown.get(m.hash);
		shown.delete(m.hash);
		if (held && held.dataset['form'] === form) {
			before = held;
			continue;
		}
		const made = messageOf(m, who);
		made.dataset['form'] = form;
		if (held) {
			held.replaceWith(made);
		} else if (before) {
			before.after(made);
		} else {
			log.prepend(made);
		}
		added ||= !held;
		before = made;
	}
	shown.forEach((gone) => gone.remove());
	if (added) {
		log.lastElementChild?.scrollIntoView({ block: 'end' });
	}
}

function messageOf(m: StoredMessage, who: string): HTMLElement {
	const time = new Date(m.at);
	const day = time.toDateString() === new Date().toDateString() ? {} : { day: 'numeric', month: 'short' } as const;
	const author = m.mine || m.sender === '' ? make('span', {}, who) : make('button', { type: 'button', 'aria-label': `${who}: details` }, who);
	author.addEventListener('click', () => void (author.localName === 'button' && showPerson(m.sender, m.said)));
	const said = make('p', { class: 'who' }, author, ' ', make('time', { datetime: time.toISOString() }, time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', ...day })));
	if (m.outgoing) {
		said.append(m.outgoing.failed === undefined ? make('span', { class: 'state' }, ' · not sent yet') : make('span', { class: 'state failed' }, ` · not sent: ${m.outgoing.failed}`));
	}
	return make('li', { 'data-hash': m.hash, class: m.mine ? 'mine' : 'theirs' }, said, make('p', { class: 'text' }, m.text));
}

async function show(chat: string | undefined): Promise<void> {
	open = chat;
	history.replaceState(null, '', chat ? '#' + chat : location.pathname);
	await draw();
	if (chat) {
		element('text').focus();
		const worker = await navigator.serviceWorker?.getRegistration();
		(await worker?.getNotifications())?.filter((n) => (n.data as { chat?: string } | null)?.chat === chat).forEach((n) => n.close());
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

async function send(text: string): Promise<void> {
	const chat = open && (await messenger.store.chat(open));
	if (!chat) {
		return;
	}
	await messenger.write(chat, text);
	await draw();
	try {
		await messenger.flush();
	} finally {
		await draw();
	}
}

function setUp(registration: ServiceWorkerRegistration | undefined): void {
	setUpDialogs();
	setUpDetails({ messenger, changed: draw, show });
	element('add').addEventListener('click', () => dialog('add-dialog').showModal());
	element('details').addEventListener('click', () => open && void showChat(open));
	onSubmit('join', () => {
		const [name, password] = [input('name').value.trim(), input('password').value];
		dialog('add-dialog').close();
		void attempt('Joining', async () => {
			await join(name, password);
			element<HTMLFormElement>('join').reset();
			input('link').value = invitation(name, password);
			dialog('invitation').showModal();
		});
	});
	onSubmit('compose', () => {
		const text = input('text').value.trim();
		if (text && open) {
			input('text').value = '';
			void attempt('Sending', () => send(text));
		}
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
}

async function start(): Promise<void> {
	const worker = new Worker('/mine.js');
	messenger = await Messenger.open(location.origin, { miner: workerMiner(worker), blocked: () => status('Close the other windows of this app: they are of an older version') });
	const registration = await navigator.serviceWorker?.register('/sw.js');
	await draw();

	changes.addEventListener('message', () => void refresh());
	navigator.serviceWorker?.addEventListener('message', ({ data }: MessageEvent<{ open?: string }>) => void show(data.open));
	document.addEventListener('visibilitychange', () => void draw());
	setUp(registration);

	await attempt('Connecting', async () => {
		const granted = registration && messenger.pushes && Notification.permission === 'granted';
		await messenger.register(granted ? await messenger.subscribe(registration).catch(() => null) : null);
		await messenger.take(await messenger.device.history());
		await messenger.flush();
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

start().catch((error: unknown) => status(`The server cannot be reached: ${words(error)}`));
