import { random } from '../bytes.js';
import { eciesOverhead } from '../whisper/ecies.js';

/** The version of the protocol, the first element of every message. */
export const protocolVersion = 2;

// Fixed sizes, in bytes.
export const idSize = 16; // a request's id, random
export const codeSize = 16; // a challenge's code
export const sealKeySize = 32; // an X25519 public or private key
export const rootSize = 32; // the root of a receiver's capabilities
export const handleSize = 16; // finds a registration for Notify, chosen by the receiver
export const proofSize = 32; // a capability, and a proof made with it
export const pushKeySize = 33; // a compressed public key of secp256k1
export const hashSize = 32;
export const ledgerSecretSize = 16;
export const signatureSize = 64; // r and s

// Limits of a message. A decoder checks each before it makes anything of what it reads. A
// server may allow less, and says so in its limits.
export const maxRoutes = 4; // routes of a registration
export const maxProviderName = 32; // bytes of a provider's name
export const maxToken = 1024; // bytes of a device token or an endpoint's URL
export const maxKeys = 4; // provider keys of a route
export const maxKey = 256; // bytes of one of them
export const maxGroup = 32; // bytes of a group id
export const maxChannels = 4096; // channels in one message
export const maxVoucher = 512; // bytes of a voucher
export const maxRevoked = 64; // revoked holders in one request
export const maxHeldRevoked = 256; // revoked holders of a registration, all of which a reply to Status names
export const maxHolder = 64; // bytes of a holder's name
export const maxFetch = 64; // hashes in Fetch, Seen and the reply to Fetch
export const maxSuccessions = 3; // successions that a reply or an offer names
export const maxTold = 64; // hashes that a ledger tells
export const maxText = 256; // bytes of a reply's or a status's sentence
export const maxProviders = 32; // providers in an offer
export const maxInfo = 512; // bytes about one of them
export const maxEnode = 512; // bytes of an enode URL or ENR
export const maxLogId = 16; // bytes of the identity of an archive's log
export const maxHashes = 28; // hashes in a wake-up
export const maxBody = 4096; // bytes of a wake-up: the most that a push service carries

/** The largest of {@link sizeClasses}, in bytes. */
const maxPlaintext = 65536;

/**
 * The lengths, in bytes, to which the plaintext of a request or reply is padded: flags,
 * payload, padding and signature together. The envelope's data is 113 bytes longer.
 */
export const sizeClasses = [1024, 4096, 16384, maxPlaintext] as const;

/** What a signed message adds to its payload: flags, a payload size of two bytes, and the signature. */
const messageOverhead = 1 + 2 + 65;

/** What symmetric encryption adds: nonce and tag. */
const symmetricOverhead = 12 + 16;

/** The longest encoded request or reply, in bytes. */
export const maxPushPayload = maxPlaintext - messageOverhead;

/** The longest data of a request's or reply's envelope, in bytes; what is longer is not decrypted. */
export const maxData = maxPlaintext + eciesOverhead;

/** The proof of work that a server asks of a request's envelope unless it says otherwise. */
export const defaultPow = 0.2;

/**
 * Returns random bytes that bring a signed message with a payload of so many bytes to the
 * next of {@link sizeClasses}, and nothing beyond the last. A mail request that is padded
 * with it cannot be told from a registration.
 */
export const pushPadding = (payload: number): Uint8Array => padding(payload, 0);

/** The same for a message that is encrypted with a symmetric key, whose data becomes as long as that of one to a public key. */
export const symmetricPadding = (payload: number): Uint8Array => padding(payload, eciesOverhead - symmetricOverhead);

function padding(payload: number, more: number): Uint8Array {
	const size = messageOverhead + payload - (payload < 256 ? 1 : 0); // the payload size takes one byte
	const fits = sizeClasses.find((c) => size <= c);
	return fits === undefined ? new Uint8Array(0) : random(fits - size + more);
}
