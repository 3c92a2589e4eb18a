// What is told and changed of a chat, a person and oneself.
import { exported, restore } from './backup.js';
import { type GroupInfo, maxBackup } from './client.js';
import { attempt, button, dialog, element, input, make, onSubmit, save, status } from './dom.js';
import { type Messenger } from './messenger.js';
import { isMuted, printableName, shortKey, titleOf } from './names.js';
import { drawQr } from './qr.js';
import { drawServers } from './servers.js';
import { type StoredChat } from './store.js';

/** What the dialogs need of the page. */
export interface Page {
	readonly messenger: Messenger;
	/** Draws what changed. */
	changed(): Promise<void>;
	/** Opens the app anew, here and in other windows. */
	restored(): void;
	/** Shows a chat, or none. */
	show(chat: string | undefined): Promise<void>;
}

const hour = 3600_000;
/** For how long one may mute a chat, in milliseconds; the last is as long as a person may wish. */
const mutes: readonly (readonly [string, number])[] = [
	['On', 0], ['Muted for an hour', hour], ['Muted for eight hours', 8 * hour], ['Muted for a week', 168 * hour], ['Muted until I turn them on', Infinity],
];
/** The end of a mute that has none: the year 2100. */
const never = Date.UTC(2100, 0);

let page: Page;
let chatId = '';
let personKey = '';

export function setUpDetails(of: Page): void {
	page = of;
	onSubmit('chat-form', () => void saveChat());
	element('leave').addEventListener('click', () => {
		if (confirm('Leave? Its messages are removed from this browser.')) {
			dialog('chat-dialog').close();
			void attempt('Leaving', async () => {
				await page.messenger.leave(chatId);
				await page.show(undefined).finally(() => page.changed());
			});
		}
	});
	element('wake').addEventListener('change', () => void attempt('Saving', async () => {
		const group = await openGroup();
		await page.messenger.groups.setWake(group.id, Number(element<HTMLSelectElement>('wake').value));
	}));
	onSubmit('rename', () => void changeGroup('Renaming', { name: input('new-name').value.trim() }));
	onSubmit('invite', () => void changeGroup('Adding', { add: [{ key: element<HTMLSelectElement>('new-member').value, admin: false }] }));
	onSubmit('person-form', () => {
		dialog('person-dialog').close();
		const name = printableName(input('person-name').value);
		void attempt('Saving', () => changePerson(name));
	});
	element('block').addEventListener('click', () => {
		dialog('person-dialog').close();
		void attempt('Saving', async () => {
			const { store } = page.messenger;
			await store.changePerson(personKey, (p) => ({ ...p, blocked: !p.blocked }));
			await page.changed();
			await drawPeople();
		});
	});
	onSubmit('me', () => void attempt('Saving', async () => {
		const name = printableName(input('my-name').value);
		await page.messenger.setName(name);
		input('my-name').value = name;
		showLink('my-link', 'my-code', await page.messenger.contactLink(location.origin));
	}));
	element('remove-all').addEventListener('click', () => void attempt('Removing', removeAll));
	onSubmit('export', () => void attempt('Exporting', exportAll));
	onSubmit('restore', () => void attempt('Restoring', restoreAll));
	element('settings').addEventListener('click', () => void attempt('Opening', showSettings));
}

async function changePerson(name: string): Promise<void> {
	await page.messenger.store.changePerson(personKey, (p) => ({ ...p, name }));
	await page.changed();
	await drawPeople();
}

/** Shows what there is to change of a chat. */
export async function showChat(id: string): Promise<void> {
	const chat = await page.messenger.store.chat(id);
	if (!chat) {
		return;
	}
	chatId = id;
	input('chat-name').value = titleOf(chat);
	element('chat-known').textContent = `${'person' in chat.with ? 'They call themselves' : 'Its members know it as'} ${printableName(chat.name)}.`;
	const held = isMuted(chat) ? chat.mutedUntil! : 0;
	const choices = mutes.map(([text, length]) => make('option', { value: String(length) }, text));
	if (held > 0 && held < never) {
		choices.push(make('option', { value: 'held' }, `Muted until ${new Date(held).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })}`));
	}
	const link = await page.messenger.chatLink(chat, location.origin);
	element('share').hidden = !link;
	if (link) {
		showLink('chat-link', 'chat-code', link);
	}
	await drawGroup(chat);
	element('mute').replaceChildren(...choices);
	element<HTMLSelectElement>('mute').value = held === 0 ? '0' : held < never ? 'held' : 'Infinity';
	dialog('chat-dialog').showModal();
}

async function openGroup(): Promise<GroupInfo> {
	const chat = await page.messenger.store.chat(chatId);
	const group = chat && (await page.messenger.groupOf(chat));
	if (!group) {
		throw new Error('this chat is no group');
	}
	return group;
}

async function changeGroup(what: string, change: Parameters<Messenger['changeGroup']>[1]): Promise<void> {
	await attempt(what, async () => {
		const { id } = await openGroup();
		try {
			await page.messenger.changeGroup(id, change);
		} finally {
			await page.changed();
			const chat = await page.messenger.store.chat(chatId);
			await (chat && drawGroup(chat));
		}
	});
}

/** Shows who is in a group, and what the person may change of it. */
async function drawGroup(chat: StoredChat): Promise<void> {
	const group = await page.messenger.groupOf(chat);
	element('group').hidden = !group;
	if (!group) {
		return;
	}
	const { me } = page.messenger;
	const people = await page.messenger.store.people();
	const said = new Map((await page.messenger.store.messages(chat.id)).filter((m) => m.said).map((m) => [m.sender, m.said!]));
	const admin = group.members.some((m) => m.key === me && m.admin);
	const nameOf = (key: string): string => (key === me ? 'You' : people.get(key)?.name || said.get(key) || shortKey(key));
	element<HTMLSelectElement>('wake').value = String(group.wake);
	element('members').replaceChildren(...group.members.map((m) => {
		const name = nameOf(m.key);
		const row = make('li', {}, make('span', {}, name, m.admin ? make('span', { class: 'tag' }, ' admin') : ''));
		if (m.key !== me && admin) {
			const acts = make('span', { class: 'row' });
			if (!m.admin) {
				acts.append(button('Make admin', { 'aria-label': `Make ${name} an admin` }, () => void changeGroup('Saving', { add: [{ key: m.key, admin: true }] })));
			}
			acts.append(button('Remove', { class: 'danger', 'aria-label': `Remove ${name} from the group` }, () => {
				if (confirm(`Remove ${name} from the group?`)) {
					void changeGroup('Removing', { remove: [m.key] });
				}
			}));
			row.append(acts);
		}
		return row;
	}));
	element('rename').hidden = element('invite').hidden = !admin;
	input('new-name').value = chat.name;
	const others = [...people.values()].filter((p) => p.topic && !p.blocked && !group.members.some((m) => m.key === p.key));
	const choices = others.map((p) => make('option', { value: p.key }, p.name || shortKey(p.key)));
	element('new-member').replaceChildren(...(choices.length > 0 ? choices : [make('option', { value: '' }, 'Nobody: open their contact link first')]));
}

async function saveChat(): Promise<void> {
	dialog('chat-dialog').close();
	const title = input('chat-name').value.trim();
	const mute = element<HTMLSelectElement>('mute').value;
	await attempt('Saving', async () => {
		const { messenger } = page;
		await messenger.store.changeChat(chatId, ({ title: _, ...chat }) => (title === '' || title === chat.name ? chat : { ...chat, title }));
		const length = Number(mute);
		try {
			if (mute !== 'held') {
				await messenger.mute(chatId, length === 0 ? 0 : Math.min(Date.now() + length, never));
			}
		} finally {
			await page.changed(); // here it holds already, also if the server could not be told
		}
	});
}

/** Shows what is known of somebody; `said` is what they call themselves. */
export async function showPerson(key: string, said: string | undefined): Promise<void> {
	personKey = key;
	const person = (await page.messenger.store.people()).get(key);
	element('person-title').textContent = person?.name || said || shortKey(key);
	input('person-name').value = person?.name ?? '';
	input('person-key').value = key;
	element('person-said').textContent = said ? `They call themselves ${said}. Anybody can say so: give a name only to whom you know.` : '';
	element('block').textContent = person?.blocked ? 'Unblock: show their messages again' : 'Block: show none of their messages';
	dialog('person-dialog').showModal();
}

/** Shows a link in a field, and as a picture beside it. */
export function showLink(field: string, code: string, link: string): void {
	input(field).value = link;
	element(code).replaceChildren(drawQr(link, 'The link as a picture to scan'));
}

/** Ends the registration, and removes what the app keeps in this browser. */
async function removeAll(): Promise<void> {
	if (!confirm('Your key, chats and messages are removed from this browser. Without an export they are lost. Go on?')) {
		return;
	}
	await page.messenger.device.unregister({ attempts: 1 }).catch((error: unknown) => console.warn('the server was not told', error));
	for (const worker of (await navigator.serviceWorker?.getRegistrations()) ?? []) {
		await (await worker.pushManager?.getSubscription())?.unsubscribe();
		await worker.unregister();
	}
	for (const { name } of await indexedDB.databases()) {
		if (name?.startsWith('whisperpush')) {
			indexedDB.deleteDatabase(name); // it is gone when the windows have let go of it
		}
	}
	page.restored();
}

async function exportAll(): Promise<void> {
	const { file, without } = await exported(page.messenger, input('export-passphrase').value);
	input('export-passphrase').value = '';
	save(`messages-${new Date().toISOString().slice(0, 10)}.backup`, file as BlobPart, 'application/octet-stream');
	if (without.length > 0) {
		throw new Error(`not in the file, as their keys were not kept when you joined: ${without.join(', ')}. Leave and join them again to have them in it`);
	}
}

async function restoreAll(): Promise<void> {
	const [file] = input('restore-file').files ?? [];
	if (!file || !confirm('All that is in this app now is replaced. Go on?')) {
		return;
	}
	if (file.size > maxBackup) {
		throw new Error('this file is too large to be one that was exported here');
	}
	await restore(page.messenger, new Uint8Array(await file.arrayBuffer()), input('restore-passphrase').value);
	status('Restored');
	page.restored();
}

async function showSettings(): Promise<void> {
	input('my-name').value = await page.messenger.name();
	input('my-key').value = page.messenger.me;
	showLink('my-link', 'my-code', await page.messenger.contactLink(location.origin));
	await drawPeople();
	dialog('settings-dialog').showModal();
	await drawServers();
}

async function drawPeople(): Promise<void> {
	const people = [...(await page.messenger.store.people()).values()].filter((p) => p.name || p.blocked);
	const rows = people.map((p) => make('li', {},
		make('span', {}, p.name || shortKey(p.key), p.blocked ? make('span', { class: 'tag' }, ' blocked') : ''),
		button('Details', { 'aria-label': `Details of ${p.name || shortKey(p.key)}` }, () => void showPerson(p.key, undefined))));
	element('people').className = 'list';
	element('people').replaceChildren(...(rows.length > 0 ? rows : [make('li', { class: 'hint' }, 'Nobody yet. Choose the name above a message.')]));
}
