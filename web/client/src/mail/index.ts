/**
 * What a mail client and a mailserver say to each other, in bytes: requests for archived
 * envelopes, cursors, and the end marks of answers.
 *
 * @module
 */
export { type Complete, decodeComplete, encodeComplete, maxRefusalText, type Proof, refusalWord, retryAfter } from './complete.js';
export {
	type Cursor,
	cursorSize,
	decodeCursor,
	encodeCursor,
	isZeroCursor,
	logIdSize,
	resume,
	sameCursor,
	since,
	zeroCursor,
} from './cursor.js';
export {
	anything,
	decodeMailRequest,
	decodePlainRequest,
	encodeMailRequest,
	everythingSince,
	exactly,
	type Form,
	type MailRequest,
	maxClockSkew,
	maxMailHashes,
	maxMailPayload,
	maxTopics,
} from './request.js';
export { isStatementSigned, type Statement } from './statement.js';
