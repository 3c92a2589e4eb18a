import { hex, hex0x, random, utf8 } from '../bytes.js';
import { type Chat, chatId } from '../device/chat.js';
import { checkChats } from '../device/chat.js';
import { parsePublicKey, type PublicKey } from '../whisper/keys.js';
import { type Change, Core, type CoreConfig, type InboxNotification } from './core.js';
import { Attention, Manner } from './decide.js';
import { maxActionId, maxOutgoing, maxOutgoingPayload } from './limits.js';
import { LinkError, parseLink } from './link.js';
import { type Entry, type Failure, isUnread } from './model.js';
import { Display, markOf } from './records.js';
import { latestMute } from './sync.js';
import { Outbox } from './outbox.js';

/** What a quick action does: mark the message read; mark all of its chat read; answer, and mark the message read; mute its chat; delete it. */
export type ActionKind = 'markRead' | 'markChatRead' | 'reply' | 'muteChat' | 'deleteMessage';

/** What the user chose on a notification, without opening the app. */
export interface Action {
	/** Makes two of the same one: an action whose id was seen is not carried out again. */
	readonly id: string;
	readonly kind: ActionKind;
	/** The notification's id. */
	readonly message: string;
	/** Of `reply`. */
	readonly text?: string;
	/** Of `muteChat`. */
	readonly until?: Date;
}

/** What an inbox refuses: too much waits to be sent; an action makes no sense, or its message is not there. */
export type InboxErrorCode = 'full' | 'action';

export class InboxError extends Error {
	override readonly name = 'InboxError';
	constructor(readonly code: InboxErrorCode, message: string) {
		super(message);
	}
}

/** One message, as the user sees it. */
export interface InboxMessage {
	/** Of its first envelope, and of its notification. */
	readonly hash: string;
	/** Of what was encrypted. */
	readonly message: string;
	readonly chat: string;
	/** Compressed key; empty: not signed. */
	readonly sender: string;
	/** Undefined: it was too long to be kept. */
	readonly payload: Uint8Array | undefined;
	readonly text: string;
	readonly sent: Date;
	/** `sent` is not the sender's word. */
	readonly claimed: boolean;
	readonly came: Date;
	/** Sent by the user. */
	readonly own: boolean;
	readonly read: boolean;
	/** Its sender is. */
	readonly blocked: boolean;
	/** The platform has its notification. */
	readonly shown: boolean;
}

/** One chat, as the user sees it. */
export interface InboxChat {
	readonly id: string;
	readonly name: string;
	readonly messages: number;
	/** Those of senders who are blocked left out. */
	readonly unread: number;
	/** Undefined: it is not muted. */
	readonly mutedUntil: Date | undefined;
}

/** A message that is still to be sent. */
export interface InboxOutgoing {
	readonly id: string;
	readonly chat: string;
	readonly payload: Uint8Array;
	readonly written: Date;
}

/** Of what is not shown. */
export interface InboxCounts {
	/** Envelopes that wait for a key. */
	readonly unopened: number;
	/** Of those, such as were given up. */
	readonly never: number;
	/** Envelopes that no chat could open when they came. */
	readonly all: number;
	/** Messages that made room for others. */
	readonly evicted: number;
}

/** Where a link leads. */
export interface Target {
	readonly chat: string;
	readonly message: InboxMessage | undefined;
}

/**
 * The messages of a device, and what the user has seen of them: see the module. What the user does
 * changes the inbox and what the platform shows at once, also without a network; what others are to
 * be told waits for {@link flush}. Hashes, ids of chats and keys are hexadecimal with 0x.
 */
export class Inbox {
	readonly #core: Core;
	readonly #outbox: Outbox;

	private constructor(core: Core) {
		this.#core = core;
		this.#outbox = new Outbox(core);
	}

	/**
	 * Reads the journal of an inbox, or begins it, and brings the notifications of the platform in line
	 * with it. It asks nothing of the mailserver; call {@link history} for what came while the app did not run.
	 */
	static async open(config: CoreConfig): Promise<Inbox> {
		const core = new Core(config);
		await core.open();
		return new Inbox(core);
	}

	/** Has `kick` be called whenever something waits for a {@link flush}. */
	onWaiting(kick: () => void): void {
		this.#core.kick = kick;
	}

	/** Handles the body of a push, as `Device.receive` does, and shows and removes what follows from it. */
	async receive(push: string | Uint8Array): Promise<void> {
		const event = await this.#core.device.receive(push);
		await this.#outbox.took(event);
		if (event.more) {
			await this.#outbox.history();
		}
		await this.#told();
	}

	/** Asks the mailserver for all that came since the last time: for the app's start. */
	async history(): Promise<void> {
		await this.#outbox.history();
		await this.#told();
	}

	async #told(): Promise<void> {
		await this.flush().catch(() => undefined); // it waits for the next time
	}

	/** Tells others what waits for them: the server and the other devices what was read, muted and blocked, and the chats what was written. What fails stays, and is told the next time, also after a restart. */
	flush(): Promise<void> {
		return this.#outbox.flush();
	}

	/** Says what the user does; where the app is in the foreground, what is in the chat that is open is read. */
	attend(attention: Exclude<Attention, typeof Attention.watching>): Promise<void> {
		return this.#core.update(() => void (this.#core.attention = attention));
	}

	/** Says that a chat is visible whenever the app is in the foreground, until another is or none. What is in it is read. */
	chatOpened(chat: string | undefined): Promise<void> {
		return this.#core.update(() => void (this.#core.visible = chat));
	}

	/** Says that messages were read. */
	read(hashes: readonly string[]): Promise<void> {
		return this.#core.update((t) => t.read(t.model.findAll(hashes)));
	}

	/** Says that all messages of a chat were read. */
	readChat(chat: string): Promise<void> {
		return this.#core.update((t) => t.read(t.model.of(chat)));
	}

	/** Says that the app itself puts messages into the network: nobody is woken for them on the user's other devices. What {@link send} sends needs it not. */
	sent(hashes: readonly string[]): Promise<void> {
		return this.#core.update((t) => t.add({ kind: 'read', hashes, here: true }));
	}

	/** Removes messages here. On the other devices they count as read. */
	delete(hashes: readonly string[]): Promise<void> {
		return this.#core.update((t) => t.remove(t.model.findAll(hashes)));
	}

	/** Removes all messages of a chat here. */
	deleteChat(chat: string): Promise<void> {
		return this.#core.update((t) => t.remove(t.model.of(chat)));
	}

	/** Silences a chat on all of the user's devices until a time; undefined ends that. What came meanwhile and is not read is then shown, quietly. */
	mute(chat: string, until: Date | undefined): Promise<void> {
		return this.#core.update((t) => mute(t, chat, until));
	}

	/** Hides the messages of a sender on all of the user's devices, also those that are there. The sender cannot find out. */
	block(sender: string | PublicKey): Promise<void> {
		return this.#block(sender, true);
	}

	/** Ends that. */
	unblock(sender: string | PublicKey): Promise<void> {
		return this.#block(sender, false);
	}

	async #block(of: string | PublicKey, on: boolean): Promise<void> {
		const sender = hex0x(parsePublicKey(of));
		await this.#core.update((t) => t.add({ kind: 'block', sender, on, stamp: t.stamp(t.model.blocks.get(sender)?.stamp), here: true }));
	}

	/**
	 * Replaces the chats. Those that are not among them any more are removed. What could not be opened
	 * until now is tried with the new ones. The server is told by {@link flush}. The chats must be given to
	 * `Device.open` in the next run.
	 */
	async setChats(chats: readonly Chat[]): Promise<void> {
		checkChats(chats);
		const core = this.#core;
		await core.inTurn(async () => {
			const before = core.chats;
			core.takeChats(chats);
			try {
				await core.change((t) => {
					[...before.keys()].filter((id) => !core.chats.has(id)).forEach((id) => t.remove(t.model.of(id)));
					t.add({ kind: 'channels', told: false });
				});
			} catch (error) {
				core.chats = before;
				throw error;
			}
			await core.tryUnopened();
			await core.changed();
		});
	}

	/** Shows again, quietly, what is not read: after the platform has lost its notifications. */
	reshow(): Promise<void> {
		return this.#core.update((t) => this.#core.forgetDisplays(t));
	}

	/** Takes over what other tabs did, and what time has changed: mutes that ended. */
	refresh(): Promise<void> {
		return this.#core.update(() => undefined);
	}

	/** Carries an action out, once. */
	do(action: Action): Promise<void> {
		return this.#core.update((t) => act(t, action));
	}

	/** Sends a message to a chat, signed by the first of the user's keys. It is kept when this resolves, and out after {@link flush}. */
	send(chat: string, payload: Uint8Array): Promise<void> {
		return this.#core.update((t) => {
			if (!this.#core.chats.has(chat)) {
				throw new InboxError('action', `there is no chat ${chat}`);
			}
			draft(t, hex(random(16)), chat, '', payload);
		});
	}

	/** How many messages there are that are to be seen: the number on the icon. */
	get unread(): number {
		return this.#core.unread();
	}

	/** The chats, by name. */
	get chats(): InboxChat[] {
		const core = this.#core;
		const all = [...core.chats].map(([id, { name }]): InboxChat => ({
			id, name, messages: core.model.of(id).length, unread: core.unreadOf(id),
			mutedUntil: core.model.isMuted(id, core.now()) ? new Date(Math.min(core.model.mutes.get(id)!.until, latestMute) * 1000) : undefined,
		}));
		return all.sort((a, b) => (a.name + a.id < b.name + b.id ? -1 : 1));
	}

	/** The messages of a chat in the order in which they came. */
	messages(chat: string): InboxMessage[] {
		return this.#core.model.of(chat).map((e) => this.#seen(e));
	}

	/** The message of an envelope or of a notification; undefined: there is none. */
	message(hash: string): InboxMessage | undefined {
		const e = this.#core.model.find(hash);
		return e && this.#seen(e);
	}

	/** What the platform shows of a message, or of another envelope of it; undefined: nothing. */
	notification(hash: string): InboxNotification | undefined {
		const e = this.#core.model.find(hash);
		return e?.display === Display.displayed ? this.#core.notification(e, Manner.quiet) : undefined;
	}

	/** The messages that are still to be sent, in the order in which they were written. */
	get outgoing(): InboxOutgoing[] {
		return [...this.#core.model.drafts.values()].map(({ id, chat, payload, written }) => ({ id, chat, payload, written: new Date(written) }));
	}

	/** The newest messages that will never be sent. */
	get failures(): readonly Failure[] {
		return this.#core.model.failures;
	}

	/** How much there is that is not shown. */
	get counts(): InboxCounts {
		const { unopened, counts } = this.#core.model;
		return { unopened: unopened.length, never: counts.dropped, all: counts.unopened, evicted: counts.evicted };
	}

	#seen(e: Entry): InboxMessage {
		return {
			hash: e.hash, message: e.message, chat: e.chat, sender: e.sender, payload: e.payload, text: e.text, sent: new Date(e.sent), claimed: e.claimed,
			came: new Date(e.came), own: e.own, read: !isUnread(e), blocked: this.#core.model.isBlocked(e.sender), shown: e.display === Display.displayed,
		};
	}

	/** Follows a link to a chat or a message by what is in the inbox. Throws a {@link LinkError}. */
	resolve(text: string): Target {
		const { topic, tag, message } = parseLink(text);
		const core = this.#core;
		const ours = [...core.chats.keys()].filter((id) => topic === undefined || (id.startsWith(topic) && (tag === undefined || id.endsWith(tag)))).sort();
		if (topic !== undefined && ours.length === 0) {
			throw new LinkError('foreign', 'the link does not lead to a chat of this device');
		}
		if (message === undefined) {
			return { chat: ours[0]!, message: undefined };
		}
		const e = core.model.find(message);
		if (!e) {
			throw core.model.gone.has(markOf(message)) ? new LinkError('expired', 'the message of the link was removed') : new LinkError('unknown', 'the message of the link is not known');
		}
		if (!core.chats.has(e.chat)) {
			throw new LinkError('foreign', 'the link does not lead to a chat of this device');
		}
		if (topic !== undefined && !ours.includes(e.chat)) {
			throw new LinkError('unknown', 'the message of the link is in another chat');
		}
		return { chat: e.chat, message: this.#seen(e) };
	}

	/**
	 * Follows a link as {@link resolve} does, and asks the mailserver for a message that is not in the
	 * inbox: whoever has the key of its chat finds it by the hash alone. That the mailserver has it and no
	 * chat of the user's opens it is `foreign`.
	 */
	async follow(text: string): Promise<Target> {
		const isUnknown = (error: unknown): boolean => error instanceof LinkError && error.code === 'unknown';
		try {
			return this.resolve(text);
		} catch (error) {
			if (!isUnknown(error)) {
				throw error;
			}
		}
		const message = parseLink(text).message!;
		await this.#outbox.took(await this.#core.device.fetch([message]));
		try {
			return this.resolve(text);
		} catch (error) {
			if (isUnknown(error) && this.#core.model.unopened.some((u) => u.hash === message)) {
				throw new LinkError('foreign', 'no chat of this device opens the message of the link');
			}
			throw error;
		}
	}

	/** Ends the use of the inbox. Nothing is lost. */
	close(): void {
		this.#core.closed = true;
	}

	/** The id of a chat, by which an inbox knows it. */
	static readonly idOf = chatId;
}

function mute(t: Change, chat: string, until: Date | undefined): void {
	const seconds = Math.min(Math.max(Math.floor((until?.getTime() ?? 0) / 1000), 0), latestMute);
	t.add({ kind: 'mute', chat, until: seconds, stamp: t.stamp(t.model.mutes.get(chat)?.stamp), here: true });
}

/** Puts a message into the outbox. `to` is whom it is for if the chat has no key. */
function draft(t: Change, id: string, chat: string, to: string, payload: Uint8Array): void {
	if (payload.length === 0 || payload.length > maxOutgoingPayload) {
		throw new InboxError('action', `a message has 1 to ${maxOutgoingPayload} bytes, not ${payload.length}`);
	}
	if (t.model.drafts.size >= maxOutgoing) {
		throw new InboxError('full', `${maxOutgoing} messages wait to be sent, and no more can`);
	}
	t.add({ kind: 'draft', id, chat, to, payload, written: Math.floor(t.now) });
}

function act(t: Change, a: Action): void {
	const size = utf8(a.id).length;
	if (size === 0 || size > maxActionId) {
		throw new InboxError('action', `the id of an action has 1 to ${maxActionId} bytes, not ${size}`);
	}
	if (t.acted(a.id)) {
		return;
	}
	const e = t.model.find(a.message);
	if (!e) {
		if (t.model.gone.has(markOf(a.message))) {
			return; // there is nothing to do any more
		}
		throw new InboxError('action', 'the message of the action is not there');
	}
	switch (a.kind) {
		case 'markRead':
			t.read([e]);
			break;
		case 'markChatRead':
			t.read(t.model.of(e.chat));
			break;
		case 'reply':
			draft(t, a.id, e.chat, e.sender, utf8(a.text ?? ''));
			t.read([e]);
			break;
		case 'muteChat':
			mute(t, e.chat, a.until);
			break;
		case 'deleteMessage':
			t.remove([e]);
			break;
		default:
			throw new InboxError('action', 'there is no such kind of action');
	}
	t.add({ kind: 'action', id: a.id });
}
