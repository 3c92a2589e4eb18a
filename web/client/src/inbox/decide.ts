/** What the user does when a message comes. */
export const Attention = {
	/** The screen is off, whatever app is in the foreground. */
	screenOff: 0,
	/** The screen is on, and another app in the foreground. */
	background: 1,
	/** This app is in the foreground, and the message's chat not visible. */
	elsewhere: 2,
	/** This app is in the foreground, and the message's chat visible. */
	watching: 3,
} as const;
export type Attention = (typeof Attention)[keyof typeof Attention];

/** How a notification appears. */
export const Manner = {
	/** There is none. */
	unseen: 0,
	/** It is in the list of notifications, and nothing moves or sounds: the user was told of the message before, or it is no news. */
	quiet: 1,
	/** The app shows it at the edge of what the user is looking at, without sound. */
	banner: 2,
	/** It appears over the other app, with the sound that the user has chosen. */
	headsUp: 3,
	/** It lights the screen, with the sound that the user has chosen. */
	alarm: 4,
} as const;
export type Manner = (typeof Manner)[keyof typeof Manner];

/** What is known of a message when it is decided whether it is shown. */
export interface Facts {
	/** Here or elsewhere. */
	readonly read: boolean;
	/** Sent by the user, from whatever device. */
	readonly own: boolean;
	/** Its chat is. */
	readonly muted: boolean;
	/** Its sender is. */
	readonly blocked: boolean;
	/** Its chat is none of the user's any more. */
	readonly lost: boolean;
	/** The user was never told of it. */
	readonly news: boolean;
}

/** What becomes of a message. */
export interface Decision {
	readonly manner: Manner;
	/** The message counts as read from now on. */
	readonly read: boolean;
}

/**
 * The whole of what is shown. In every row the first that holds counts:
 *
 * | | screen off | background | foreground, another chat | foreground, that chat |
 * |---|---|---|---|---|
 * | read, own, muted, blocked, or no chat | nothing | nothing | nothing | nothing; muted: read |
 * | known before | quiet | quiet | quiet | nothing, read |
 * | news | alarm | heads-up | banner | nothing, read |
 */
export function decide(attention: Attention, f: Facts): Decision {
	if (f.read || f.own || f.blocked || f.lost) {
		return { manner: Manner.unseen, read: false };
	}
	if (attention === Attention.watching) {
		return { manner: Manner.unseen, read: true };
	}
	if (f.muted) {
		return { manner: Manner.unseen, read: false };
	}
	if (!f.news) {
		return { manner: Manner.quiet, read: false };
	}
	const loud = { [Attention.screenOff]: Manner.alarm, [Attention.background]: Manner.headsUp, [Attention.elsewhere]: Manner.banner };
	return { manner: loud[attention], read: false };
}
