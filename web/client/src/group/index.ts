/**
 * Groups whose members are woken for a mention and for nothing else, by mailservers that
 * cannot tell a mention from a message between two people: docs/groups.md. It is what the Go
 * package pushext/client/group is, on a {@link GroupDevice} around a device.
 *
 * @module
 */
export { Book, type GroupInfo, type GroupMessage } from './book.js';
export { GroupDevice, type GroupEvent, type Listening, type NewMember, type SayOptions } from './device.js';
export { GroupError, type GroupErrorCode } from './roster.js';
export { decodeInvitation, type Invitation, isInvitation, maxGroupName, maxGroups, maxMembers, type Member } from './wire.js';
