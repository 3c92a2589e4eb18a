// What the app uses of the package, under one name.
export {
	applicationServerKey, type Chat, compose, Device, DeviceError, type DeviceEvent, DoorTransport, encrypt, IndexedDbStore, maxName, type Miner, newPrivateKey,
	passwordKey, PayloadKind, type Preview, providerInfo, publicKeyOf, type Route, type Sealed, sealedName, serveMiner, topicFor, webPushRoute, workerMiner,
} from '../../client/src/index.js';
export { fromHex, hex0x as hex0xOf, text as textOf, utf8 } from '../../client/src/bytes.js';
