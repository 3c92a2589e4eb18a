/**
 * Chooses mailservers, and goes from one to the next without a gap and without showing anything
 * twice: what the Go package pushext/client/servers does, for servers that a person adds by
 * their addresses.
 *
 * @module
 */
export { type Candidate, ListError, type ListErrorCode, maxListed, type Need, rateOf, ServerList } from './list.js';
export { type Place, Several, type SeveralConfig } from './several.js';
export { type Verdict, Watch } from './watch.js';
