/**
 * The device's side of whisperpush in a browser, a service worker or Node: see the
 * package's README.
 *
 * @module
 */
export { type ErrorCode, isProtocolError, ProtocolError } from './errors.js';
export * from './whisper/index.js';
export * from './push/index.js';
export * from './mail/index.js';
export * from './device/index.js';
export { decodeValue, encodeValue } from './device/values.js';
export { BackupError, type BackupErrorCode, maxBackup, minPassphrase, openBackup, sealBackup } from './backup.js';
export * from './group/index.js';
export * from './servers/index.js';
export * from './inbox/index.js';
