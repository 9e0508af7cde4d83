/** The client's connection, as an exchange sees it. */
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import type { Relay } from '../relay/relay.ts';
import type { Transport } from '../transport.ts';
import type { Refusal } from './refusal.ts';

export interface ExchangeClient extends Timed {
  readonly transport: Transport;
  /** Reads on, if the exchange has room and nothing else speaks against it. */
  resumeInput(): void;
  /** The answer is out: goes on to the next request. */
  answered(now: Millis): void;
  /** Answers in the server's stead; `seen` says that a server may have acted on the request. */
  refuse(refusal: Refusal, broken: boolean, seen: boolean): void;
  /** Breaks the connection: nothing else can be said after the first byte of an answer. */
  cut(): void;
  /** From here on the bytes of both sides go through `tunnel`. */
  becomeTunnel(tunnel: Relay): void;
  tunnelEnded(): void;
}
