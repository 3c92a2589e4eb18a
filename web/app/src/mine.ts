// The worker that does the proof of work.
import { serveMiner } from './client.js';

serveMiner(self as never);
