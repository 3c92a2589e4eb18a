// What the app uses of the package, under one name.
export {
	applicationServerKey, BackupError, Book, type Candidate, type Chat, compose, Device, DeviceError, type DeviceEvent, DoorTransport, encodeEvidence, encrypt, type Evidence, GroupDevice, type GroupEvent, type GroupInfo, type GroupMessage, IndexedDbStore, isInvitation, decodeInvitation, decodeValue, encodeValue, keyFromPassword, maxBackup, minPassphrase, openBackup, rateOf, SealedStore, sealBackup, maxName, type Miner, Mode, type Offer, newPrivateKey, parsePublicKey, parseTopic,
	PayloadKind, type Preview, providerInfo, publicKeyOf, type Route, type Sealed, sealedName, serveMiner, ServerList, Several, State, systemClock, topicFor, Watch, webPushRoute, workerMiner,
} from '../../client/src/index.js';
export { fromHex, hex as hexOf, hex0x as hex0xOf, random, text as textOf, utf8 } from '../../client/src/bytes.js';
