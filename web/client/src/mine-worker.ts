// The script of a worker that mines, see workerMiner. It is the one module of the
// package that does something when it is loaded.
import { type Port, serveMiner } from './whisper/miner.js';

serveMiner(globalThis as unknown as Port);
