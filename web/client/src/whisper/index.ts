/**
 * Whisper (shh/6) as far as an app has to do with it: envelopes, their proof of work, and
 * the messages in them. It connects to nothing.
 *
 * @module
 */
export { type Bloom, bloomCovers, bloomSize, fullBloom, mergeBlooms, topicBloom } from './bloom.js';
export {
	decodeEnvelopes,
	detach,
	encodeEnvelopes,
	Envelope,
	type EnvelopeFields,
	envelopeHeaderSize,
	maxEnvelopes,
	workOf,
} from './envelope.js';
export {
	keyFromPassword,
	newPrivateKey,
	parsePublicKey,
	passwordKey,
	type PrivateKey,
	type PublicKey,
	publicKeyOf,
	publicKeySize,
	type SymmetricKey,
	symmetricKeySize,
	uncompressed,
} from './keys.js';
export { type Content, maxPayload, type Message, openAsymmetric, openSymmetric } from './message.js';
export { mineHere, type Miner, type Port, serveMiner, workerMiner } from './miner.js';
export { mine, type MineOptions, proofOfWork, type Work } from './pow.js';
export { defaultTtl, type Draft, encrypt, envelop, type EnvelopeDraft, seal, type Sealed, sealedName, type SealOptions } from './seal.js';
export { formatTopic, parseTopic, type Topic, topicFor, topicSize } from './topic.js';
