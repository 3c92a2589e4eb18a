/** What is wrong with bytes that came from somebody else, or with a message that was to be made. */
export type ErrorCode =
	/** The bytes are not a message of this protocol. */
	| 'malformed'
	/** The message is of another version of the protocol. */
	| 'version'
	/** The message is of a kind that is not known here. */
	| 'unsupported'
	/** The message does not fit one of the protocol's limits. */
	| 'too-large'
	/** The message is not signed, or not by the key that was expected. */
	| 'signer'
	/** The request names the push key of another server. */
	| 'server'
	/** The reply or the challenge is for another account, or of another server. */
	| 'receiver'
	/** The message is not for the key it was tried with, or there is no message in it. */
	| 'cannot-open'
	/** Mining ended before the proof of work was reached. */
	| 'work';

/**
 * The only error that decoders and openers throw, whatever bytes they are given. Tell
 * its kinds apart by `code`; the text is for people.
 */
export class ProtocolError extends Error {
	override readonly name = 'ProtocolError';
	readonly code: ErrorCode;
	/** The id of the request that could not be read, 16 bytes, where at least that could. */
	readonly requestId: Uint8Array | undefined;

	constructor(code: ErrorCode, message: string, options: { cause?: unknown; requestId?: Uint8Array } = {}) {
		super(message, options.cause === undefined ? undefined : { cause: options.cause });
		this.code = code;
		this.requestId = options.requestId;
	}
}

/** Tells whether an error is a {@link ProtocolError}, with that code if one is given. */
export function isProtocolError(error: unknown, code?: ErrorCode): error is ProtocolError {
	return error instanceof ProtocolError && (code === undefined || error.code === code);
}

/** Makes the error for bytes that are not what they should be. */
export function malformed(message: string): ProtocolError {
	return new ProtocolError('malformed', message);
}

/** Makes the error for what does not fit a limit. */
export function tooLarge(message: string): ProtocolError {
	return new ProtocolError('too-large', message);
}
