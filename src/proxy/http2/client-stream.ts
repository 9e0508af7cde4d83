/** One connection of the engine towards an application that speaks HTTP/2: one request after the other. */
import { nobody } from '../transport.ts';
import type { ClientPool } from './client-pool.ts';
import type { Http2ClientSession } from './client-session.ts';
import { ErrorCode } from './frames.ts';
import { chunkedLength, framingOf } from './framing.ts';
import type { SectionLines } from './lines.ts';
import type { Following } from './message-reader.ts';
import { StreamTransport } from './stream.ts';

const headMethod = Buffer.from('HEAD');

export class ClientStream extends StreamTransport {
  connection: Http2ClientSession | null = null;
  isHeadRequest = false;
  /** The head of the answer has come, after those that only inform. */
  hasAnswer = false;
  private readonly pool: ClientPool;

  constructor(pool: ClientPool) {
    super();
    this.pool = pool;
  }

  override write(bytes: Buffer, start: number, end: number): void {
    if (this.reader.isDone) this.reader.start();
    super.write(bytes, start, end);
  }

  head(bytes: Buffer, start: number, end: number, lines: SectionLines): Following | null {
    const methodEnd = bytes.indexOf(0x20, start);
    const targetEnd = bytes.indexOf(0x20, methodEnd + 1);
    if (methodEnd < 0 || targetEnd < 0 || targetEnd > lines.firstLineEnd) return null;
    this.isHeadRequest = bytes.compare(headMethod, 0, headMethod.length, start, methodEnd) === 0;
    this.hasAnswer = false;
    this.letGo();
    const framing = framingOf(bytes, lines);
    const isEmpty = framing !== chunkedLength && framing <= 0;
    this.bodyBytes = framing;
    this.connection = this.pool.session();
    this.connection.startRequest(this, isEmpty, bytes, start, end, lines, methodEnd, targetEnd);
    if (isEmpty) {
      this.endLocal();
      return 'none';
    }
    return framing === chunkedLength ? 'chunked' : 'length';
  }

  /** The answer before this request was complete, but not its stream. */
  private letGo(): void {
    const { connection, streamId } = this;
    if (streamId === 0 || connection === null) return;
    if (this.localEnded && this.isAnswered && !this.remoteEnded) {
      this.leave();
      connection.awaitEnd(streamId);
    } else this.cancel(ErrorCode.cancel);
  }

  /** Whether the engine can tell that the answer is complete, though its stream has not ended. */
  private get isAnswered(): boolean {
    return this.hasAnswer && this.incoming !== 'chunked' && this.incomingLeft === 0;
  }

  protected onLocalEnd(): void {
    if (this.remoteEnded) this.leave();
  }

  protected onRemoteEnd(): void {
    if (this.localEnded) this.leave();
  }

  resetByPeer(code: number): void {
    // The server had said all, and only takes no more of the request (RFC 9113 section 8.1): nothing new.
    if (this.remoteEnded) this.leave();
    else this.fail(code === ErrorCode.refusedStream ? 'not-taken' : 'reset');
  }

  protected onUnsendable(): void {
    this.cancel(ErrorCode.cancel);
    this.pool.failLater(this);
  }

  close(): void {
    this.giveUp();
  }

  destroy(): void {
    this.giveUp();
  }

  private giveUp(): void {
    this.owner = nobody;
    if (this.over) return;
    this.over = true;
    this.letGo();
  }
}
