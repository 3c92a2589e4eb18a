// What the app uses of the package, under one name.
export {
	applicationServerKey, Device, type DeviceEvent, DoorTransport, IndexedDbStore, type Miner, newPrivateKey, passwordKey, PayloadKind, providerInfo,
	publicKeyOf, type Route, serveMiner, topicFor, webPushRoute, workerMiner,
} from '../../client/src/index.js';
export { hex0x as hex0xOf } from '../../client/src/bytes.js';
