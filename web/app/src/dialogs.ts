// What is told and changed of a chat, a person and oneself.
import { attempt, button, dialog, element, input, make, onSubmit } from './dom.js';
import { type Messenger } from './messenger.js';
import { isMuted, printableName, shortKey, titleOf } from './names.js';

/** What the dialogs need of the page. */
export interface Page {
	readonly messenger: Messenger;
	/** Draws what changed. */
	changed(): Promise<void>;
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
		if (confirm('Leave this chat? Its messages are removed from this browser.')) {
			dialog('chat-dialog').close();
			void attempt('Leaving', async () => {
				await page.show(undefined);
				await page.messenger.leave(chatId).finally(() => page.changed());
			});
		}
	});
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
	}));
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
	element('chat-known').textContent = `Its members know it as ${printableName(chat.name)}.`;
	const held = isMuted(chat) ? chat.mutedUntil! : 0;
	const choices = mutes.map(([text, length]) => make('option', { value: String(length) }, text));
	if (held > 0 && held < never) {
		choices.push(make('option', { value: 'held' }, `Muted until ${new Date(held).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })}`));
	}
	element('mute').replaceChildren(...choices);
	element<HTMLSelectElement>('mute').value = held === 0 ? '0' : held < never ? 'held' : 'Infinity';
	dialog('chat-dialog').showModal();
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

async function showSettings(): Promise<void> {
	input('my-name').value = await page.messenger.name();
	input('my-key').value = page.messenger.me;
	await drawPeople();
	dialog('settings-dialog').showModal();
}

async function drawPeople(): Promise<void> {
	const people = [...(await page.messenger.store.people()).values()].filter((p) => p.name || p.blocked);
	const rows = people.map((p) => make('li', {},
		make('span', {}, p.name || shortKey(p.key), p.blocked ? make('span', { class: 'tag' }, ' blocked') : ''),
		button('Details', { 'aria-label': `Details of ${p.name || shortKey(p.key)}` }, () => void showPerson(p.key, undefined))));
	element('people').className = 'list';
	element('people').replaceChildren(...(rows.length > 0 ? rows : [make('li', { class: 'hint' }, 'Nobody yet. Choose the name above a message.')]));
}
