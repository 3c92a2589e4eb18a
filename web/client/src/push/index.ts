/**
 * The push protocol, version 2, in bytes: what a device and a mailserver say to each other.
 * It does no I/O and keeps no state. docs/protocol.md tells what each message means.
 *
 * @module
 */
export { chainKey, chainLink, chainStart, maxChain } from './chain.js';
export { newSealKey, type SealKey, sealPublicKey } from './hpke.js';
export * from './limits.js';
export { decodeOffer, encodeOffer, type Offer, offerTopic, offeredKey, openOffer, type ProviderOffer, sealOffer } from './offer.js';
export { type Channel, type Limits, Mode } from './parts.js';
export { decodePayload, emptyPayload, encodePayload, namesBoth, openPayload, type Payload, PayloadKind, plainPayload, sealPayload } from './payload.js';
export { type Capability, capability, confirmation, notification, proves, verifies } from './proofs.js';
export {
	type ClockReply,
	Code,
	codeFor,
	codeName,
	decodeReply,
	type Delivery,
	emptyReply,
	encodeReply,
	type FetchReply,
	type Ledger,
	Outcome,
	type Owed,
	type RegisterReply,
	type Reply,
	type ReplyBody,
	type Ring,
	type RouteDelivery,
	type RouteStatus,
	type Standing,
	State,
	stateName,
	type StatusReply,
} from './reply.js';
export {
	type Channels,
	type Confirm,
	decodeRequest,
	encodeRequest,
	type Fetch,
	isFor,
	type LedgerQuery,
	newRequest,
	type Notify,
	NotifyType,
	type OwedQuery,
	type Preferences,
	type Register,
	type Request,
	type RequestBody,
	type Route,
	type Seen,
	type Status,
	type StatusDetail,
	type Unregister,
} from './request.js';
export { openReply, openRequest, pushTopic, sealReply, sealRequest, type SealRequestOptions } from './sealing.js';
export { follow, newSuccession, type Succession, verifySuccession } from './succession.js';
export { chainNext, type Head, isHeadSigned, ledgerId, ledgerTopics, topicLeaf, topicLeaves, topicSalt } from './ledger.js';
