import { codeName } from '../push/reply.js';

/** What went wrong between a device, its app, its store and its mailserver. */
export type DeviceErrorCode =
	/** The server refuses the request; `refusal` is its code. */
	| 'refused'
	/** The mailserver refuses to give the history. */
	| 'mail-refused'
	/** The server did not answer as often as it was asked; `cause` is what was in the way the last time. */
	| 'gave-up'
	/** The answer broke off, or never came. */
	| 'no-reply'
	/** More was sent than one answer may have. */
	| 'too-much'
	/** The answer contradicts itself. */
	| 'bad-answer'
	/** The push is not one of a mailserver: an app that has pushes of others goes on with those. */
	| 'not-ours'
	/** What is in the store is not the state of a device. */
	| 'damaged'
	/** The device was begun anew in the store; open it again. */
	| 'replaced'
	/** The server holds a registration of the device and does not wake it; the text tells why. */
	| 'inactive'
	/** The device was closed. */
	| 'closed';

/** What the methods of a `Device` reject with, besides a ProtocolError and what a store throws. */
export class DeviceError extends Error {
	override readonly name = 'DeviceError';
	readonly code: DeviceErrorCode;
	/** The server's code, if it refused, see `Code`. */
	readonly refusal: number | undefined;

	constructor(code: DeviceErrorCode, message: string, options: { cause?: unknown; refusal?: number } = {}) {
		super(message, options.cause === undefined ? undefined : { cause: options.cause });
		this.code = code;
		this.refusal = options.refusal;
	}
}

/** Tells whether an error is the server's refusal with that code, or with any if none is given. */
export const isRefused = (error: unknown, code?: number): error is DeviceError =>
	error instanceof DeviceError && error.code === 'refused' && (code === undefined || error.refusal === code);

/** Makes the error of a refusal. */
export const refusalOf = (what: string, reply: { code: number; text: string }): DeviceError =>
	new DeviceError('refused', `${what}: the server refuses: ${reply.text} (${codeName(reply.code)})`, { refusal: reply.code });
