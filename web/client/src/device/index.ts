/**
 * The device: it registers with a mailserver, opens the pushes that arrive, fetches exactly
 * the envelopes they tell of, and turns them into previews.
 *
 * @module
 */
export { type AskOptions } from './ask.js';
export { bodyOf } from './body.js';
export { type Chat, chatId, passwordChat, type Preview, previewLength } from './chat.js';
export { type Clock, systemClock } from './clock.js';
export { compose, maxName, type Profile } from './compose.js';
export { type Copy, type DeviceEvent } from './delivery.js';
export { Device, type DeviceConfig, type DeviceStatus, type ListenOptions, newGroup, type Registration } from './device.js';
export { type DoorOptions, DoorTransport } from './door.js';
export { DeviceError, type DeviceErrorCode, isRefused } from './errors.js';
export { decodeEvidence, encodeEvidence, type Evidence, type SignedHead, type SignedPage, whyUnproved } from './evidence.js';
export { applicationServerKey, type DiscoveredServer, providerInfo, readOffer } from './offers.js';
export { nodeKeyOf, tokenRoute, webPushRoute, type WebPushSubscription } from './routes.js';
export { SealedStore } from './sealed-store.js';
export { IndexedDbStore, MemoryStore, type Store } from './store.js';
export { type ExchangeOptions, type Frame, maxAnswer, maxFrame, type Transport } from './transport.js';
