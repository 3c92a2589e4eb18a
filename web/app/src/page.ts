// The window: chats on one side, the one that is open on the other.
import { fromHex, type GroupInfo, workerMiner } from './client.js';
import { Connection } from './connection.js';
import { setUpDetails, showChat, showLink, showPerson } from './dialogs.js';
import { attempt, button, dialog, element, input, make, onSubmit, setUpDialogs, status, words } from './dom.js';
import { changes, Messenger } from './messenger.js';
import { isMuted, senderOf, shortKey, titleOf } from './names.js';
import { isOfChat, notifyOf } from './notify.js';
import { readCamera, readPicture, readsQr } from './qr.js';
import { setUpServers } from './servers.js';
import { type StoredChat, type StoredMessage, type StoredPerson } from './store.js';
import { shownNotifications, subscribe } from './subscriptions.js';

let messenger: Messenger;
let connection: Connection;
let open: string | undefined;
/** Who of the open group can be mentioned, and by which words. */
let mentionable = new Map<string, string>();

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
		const entry = make('button', { type: 'button', 'data-chat': chat.id, 'aria-current': String(chat.id === open), class: muted ? 'muted' : '' },
			make('span', {}, titleOf(chat)));
		if (muted) {
			entry.append(make('span', { class: 'tag' }, 'muted'));
		}
		if (chat.unread > 0) {
			entry.append(make('span', { class: 'unread', 'aria-label': `${chat.unread} unread` }, String(chat.unread)));
		}
		entry.addEventListener('click', () => void show(chat.id));
		return make('li', {}, entry);
	}));
	if (focused) {
		list.querySelector<HTMLElement>(`[data-chat="${CSS.escape(focused)}"]`)?.focus();
	}
	await drawInvitations();
	const unread = chats.reduce((sum, c) => sum + (isMuted(c) ? 0 : c.unread), 0);
	document.title = unread > 0 ? `(${unread}) Messages` : 'Messages';
	await drawMessages(chats.find((c) => c.id === open));
}

async function drawInvitations(): Promise<void> {
	const people = await messenger.store.people();
	element('invitations').replaceChildren(...(await messenger.invitations()).map((i) => {
		const answer = (accept: boolean): void => void attempt(accept ? 'Joining' : 'Declining', async () => {
			await show((await messenger.answer(i, accept)) ?? open);
		});
		const who = people.get(i.from)?.name || shortKey(i.from);
		return make('li', {}, make('p', {}, `${who} invites you to the group ${i.name || 'without a name'}.`),
			make('div', { class: 'row' }, button('Join', { class: 'chief' }, () => answer(true)), button('Decline', {}, () => answer(false))));
	}));
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
	drawMentions(await messenger.groupOf(chat).catch(() => undefined), people, all);
	const shown = new Map([...log.children].map((c) => [(c as HTMLElement).dataset['hash'], c as HTMLElement]));
	let added = false;
	let before: Element | null = null;
	for (const m of all) {
		const who = senderOf(m, people);
		const form = JSON.stringify([who, m.outgoing ?? null, m.mention ?? null]); // what of a message may change
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

/** Offers the members of a group to be mentioned. */
function drawMentions(group: GroupInfo | undefined, people: ReadonlyMap<string, StoredPerson>, messages: readonly StoredMessage[]): void {
	const said = new Map(messages.filter((m) => m.said).map((m) => [m.sender, m.said!]));
	mentionable = new Map(group?.members.filter((m) => m.key !== messenger.me).map(({ key }) => [key, people.get(key)?.name || said.get(key) || shortKey(key)]));
	const bar = element('mentions');
	bar.hidden = mentionable.size === 0;
	const words = [...mentionable.values()].join('\n');
	if (bar.dataset['words'] !== words) {
		bar.dataset['words'] = words;
		bar.replaceChildren(...[...mentionable.values()].map((name) => button('@' + name, {}, () => {
			const field = input('text');
			field.value += `${field.value === '' || field.value.endsWith(' ') ? '' : ' '}@${name} `;
			field.focus();
		})));
	}
}

/** Whom a text mentions. */
const mentionedIn = (text: string): string[] => [...mentionable].filter(([, name]) => text.includes('@' + name)).map(([key]) => key);

function messageOf(m: StoredMessage, who: string): HTMLElement {
	const time = new Date(m.at);
	const day = time.toDateString() === new Date().toDateString() ? {} : { day: 'numeric', month: 'short' } as const;
	const author = m.mine || m.sender === '' ? make('span', {}, who) : make('button', { type: 'button', 'aria-label': `${who}: details` }, who);
	author.addEventListener('click', () => void (author.localName === 'button' && showPerson(m.sender, m.said)));
	const said = make('p', { class: 'who' }, author, ' ', make('time', { datetime: time.toISOString() }, time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', ...day })));
	if (m.outgoing) {
		said.append(m.outgoing.failed === undefined ? make('span', { class: 'state' }, ' · not sent yet') : make('span', { class: 'state failed' }, ` · not sent: ${m.outgoing.failed}`));
	}
	if (m.mention) {
		said.append(' · mentions you');
	}
	return make('li', { 'data-hash': m.hash, class: (m.mine ? 'mine' : 'theirs') + (m.mention ? ' mention' : '') }, said, make('p', { class: 'text' }, m.text));
}

async function show(chat: string | undefined): Promise<void> {
	open = chat;
	history.replaceState(null, '', chat ? '#' + chat : location.pathname);
	await draw();
	if (chat) {
		void lookIntoGroups().catch(() => undefined);
		element('text').focus();
		(await shownNotifications()).filter(isOfChat(chat)).forEach((n) => n.close());
	}
}

async function join(name: string, password: string): Promise<void> {
	const chat = await messenger.join(name, password);
	await show(chat.id);
}

async function followLink(): Promise<void> {
	const parameters = new URLSearchParams(location.hash.slice(1));
	if (parameters.has('contact') || parameters.has('join')) {
		history.replaceState(null, '', location.pathname);
		await attempt('Opening the link', () => follow(parameters));
	} else if (location.hash.length > 1) {
		await show(location.hash.slice(1));
	}
}

/** Follows a link into a chat, or to whoever gave it. What is behind its # is sent to no server. */
async function follow(parameters: URLSearchParams): Promise<void> {
	const [name, password, shared] = [parameters.get('join'), parameters.get('with'), parameters.get('key')];
	if (name && shared) {
		const bytes = fromHex(shared.slice(0, 100), 'the key in the link');
		if (bytes.length !== 32) {
			throw new Error('the link is not whole');
		}
		return show((await messenger.joinWith(name, bytes)).id);
	}
	if (name && password) {
		return join(name, password);
	}
	const [key, at] = [parameters.get('contact'), parameters.get('at')];
	if (!key || !at) {
		throw new Error('this is no link of this app');
	}
	const chat = await messenger.meetPerson({ key, at, name: parameters.get('name') ?? '' });
	await show(chat.id);
}

async function send(text: string): Promise<void> {
	const chat = open && (await messenger.store.chat(open));
	if (!chat) {
		return;
	}
	await messenger.write(chat, text, mentionedIn(text));
	await draw();
	try {
		await messenger.flush();
	} catch (error) {
		connection.failed(error); // it waits, and is told so
	}
	await draw();
}

/** Follows a link that was pasted or scanned. */
async function openLink(link: string): Promise<void> {
	dialog('add-dialog').close();
	await attempt('Opening the link', async () => {
		await follow(new URLSearchParams(link.slice(link.indexOf('#') + 1)));
		element<HTMLFormElement>('meet').reset();
	});
}

function setUpScanning(): void {
	element('scan').hidden = !readsQr();
	input('scan-picture').addEventListener('change', () => {
		const [picture] = input('scan-picture').files ?? [];
		input('scan-picture').value = '';
		void attempt('Reading the picture', async () => openLink(await readPicture(picture!)));
	});
	let ending: AbortController | undefined;
	dialog('add-dialog').addEventListener('close', () => ending?.abort());
	element('scan-camera').addEventListener('click', () => {
		ending?.abort();
		const { signal } = (ending = new AbortController());
		const video = element<HTMLVideoElement>('camera');
		video.hidden = false;
		void attempt('Scanning', async () => {
			const link = await readCamera(video, signal);
			await (link && openLink(link));
		}).finally(() => (video.hidden = true));
	});
}

/** Opens the app anew, as what it keeps is another's now. */
function restored(): void {
	changes.postMessage('restored');
	location.reload();
}

/** A move to another server began, or was given up. */
async function movedOn(): Promise<void> {
	changes.postMessage('restored');
	await connection.draw();
	await messenger.history(open).catch((error: unknown) => console.warn('the next server', error)); // which ends the move if that one wakes this browser already
	await draw();
	await connection.draw();
}

/** The same because another window or the service worker did it: what is being written stays. */
function anew(): void {
	sessionStorage.setItem('draft', input('text').value);
	location.reload();
}

function setUp(registration: ServiceWorkerRegistration | undefined): void {
	setUpDialogs();
	setUpDetails({ messenger, changed: draw, show, restored });
	setUpServers({ home: messenger.home, moving: movedOn, restored });
	setUpScanning();
	onSubmit('meet', () => {
		void openLink(input('their-link').value.trim());
	});
	onSubmit('found', () => {
		const name = input('group-name').value.trim();
		dialog('add-dialog').close();
		void attempt('Beginning the group', async () => {
			await show((await messenger.found(name)).id);
			element<HTMLFormElement>('found').reset();
			await showChat(open!);
		});
	});
	element('add').addEventListener('click', () => dialog('add-dialog').showModal());
	element('details').addEventListener('click', () => open && void showChat(open));
	onSubmit('join', () => {
		const [name, password] = [input('name').value.trim(), input('password').value];
		dialog('add-dialog').close();
		void attempt('Joining', async () => {
			await join(name, password);
			element<HTMLFormElement>('join').reset();
			showLink('link', 'link-code', (await messenger.chatLink((await messenger.store.chat(open!))!, location.origin))!);
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
	notify.hidden = !registration || !messenger.home.pushes || Notification.permission !== 'default';
	notify.addEventListener('click', () => void attempt('Turning on notifications', async () => {
		if ((await Notification.requestPermission()) !== 'granted') {
			await connection.draw(); // it tells what that means
			notify.hidden = true;
			return;
		}
		await messenger.home.register(subscribe);
		await connection.draw();
		notify.hidden = true;
		await navigator.storage?.persist?.(); // the keys are nowhere else, so the browser is not to make room of them
	}));
}

async function start(): Promise<void> {
	const worker = new Worker('/mine.js');
	messenger = await Messenger.open(location.origin, { miner: workerMiner(worker), blocked: () => status('Close the other windows of this app: they are of an older version') });
	const registration = await navigator.serviceWorker?.register('/sw.js');
	await draw();

	changes.addEventListener('message', ({ data }) => (data === 'restored' || data === 'moved' ? anew() : void refresh()));
	navigator.serviceWorker?.addEventListener('message', ({ data }: MessageEvent<{ open?: string }>) => void show(data.open));
	document.addEventListener('visibilitychange', () => void draw());
	connection = new Connection({ messenger, registration, looking: () => (document.visibilityState === 'visible' ? open : undefined), changed: draw });
	setUp(registration);

	status('Connecting …');
	await connection.connect();
	status('');
	await draw();
	document.body.dataset['ready'] = 'yes'; // what follows is for as long as the window is open
	await followLink();
	input('text').value = sessionStorage.getItem('draft') ?? '';
	sessionStorage.removeItem('draft');
	window.addEventListener('hashchange', () => void followLink());
	setInterval(() => void lookIntoGroups().catch((error: unknown) => connection.failed(error)), groupPause);
	void connection.listen((body) => rung(body, registration));
}

/** How long messages of groups, which ring nobody, may wait while a group is looked at, in milliseconds, and while none is. */
const groupPause = 8_000;
const otherPause = 60_000;
let looked = 0;

/** Asks for what was written in groups: it wakes nobody, so nobody says that it is there. */
async function lookIntoGroups(): Promise<void> {
	const chats = await messenger.store.chats();
	const pause = chats.some((c) => c.id === open && 'group' in c.with) ? 0 : otherPause;
	if (document.visibilityState !== 'visible' || !chats.some((c) => 'group' in c.with) || Date.now() - looked < pause) {
		return;
	}
	looked = Date.now();
	await messenger.history(open);
	await draw();
}

/** Takes what the server rings the window with. Who does not look at it is told by a notification, as if it were closed. */
async function rung(body: string, registration: ServiceWorkerRegistration | undefined): Promise<void> {
	const visible = document.visibilityState === 'visible';
	const { fresh } = await messenger.receive(body, visible ? open : undefined);
	await draw();
	if (!visible && registration && Notification.permission === 'granted') {
		await notifyOf(registration, messenger, fresh);
	}
}

/** Draws what another window or the service worker changed: it may have added a chat. */
async function refresh(): Promise<void> {
	await messenger.refresh().catch(() => undefined);
	await draw();
}

start().catch((error: unknown) => {
	const clock = /offer (has expired|is of the future)/.test(words(error)) ? ` Is the clock of this device right? It says ${new Date().toLocaleString()}.` : '';
	status(`The app cannot begin: ${words(error)}.${clock}`);
});
