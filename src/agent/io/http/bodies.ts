/** Takes in request bodies: how large one may be, and how much of all of them is held at once. */
import type { IncomingMessage } from 'node:http';
import { Fault } from '../../../core.ts';

/** Larger ones are answered 413, where a path does not say otherwise. A config entry is at most 32 KB. */
export const maxBodyBytes = 1024 * 1024;
/** Of all bodies at once; what would take more is answered 503. Else a thousand slow clients would fill the memory. */
export const maxHeldBytes = 64 * 1024 * 1024;
/** So much of a body is taken in whatever the others hold: what most requests need cannot be crowded out. */
const alwaysTakenBytes = 16 * 1024;

const empty = Buffer.alloc(0);

export class Bodies {
  private readonly maxHeld: number;
  /** What bodies hold beyond what is always taken. */
  private heldBytes = 0;

  constructor(maxHeld: number = maxHeldBytes) {
    this.maxHeld = maxHeld;
  }

  /** The whole body, of at most `most` bytes. It counts as held until it is complete and handed over, or its client is gone. */
  take(request: IncomingMessage, most: number = maxBodyBytes): Promise<Buffer> {
    const announced = Number(request.headers['content-length'] ?? 0);
    if (announced > most) return Promise.reject(tooLarge(most));
    let held = 0;
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let length = 0;
      request.on('data', (chunk: Buffer) => {
        length += chunk.length;
        const more = Math.max(0, length - alwaysTakenBytes) - held;
        const refusal =
          length > most ? tooLarge(most) : this.heldBytes + more > this.maxHeld ? crowded() : null;
        if (refusal !== null) {
          request.removeAllListeners('data').pause();
          reject(refusal);
          return;
        }
        held += more;
        this.heldBytes += more;
        chunks.push(chunk);
      });
      request.on('end', () => resolve(chunks.length === 0 ? empty : Buffer.concat(chunks)));
      request.on('error', reject);
      request.on('close', () => {
        this.heldBytes -= held;
        reject(new Fault('malformed', 'the client left before its request was complete'));
      });
    });
  }
}

function tooLarge(most: number): Fault {
  return new Fault('body-too-large', `Request body too large, max size: ${most} bytes`);
}

function crowded(): Fault {
  return new Fault('overloaded', 'This agent is taking in too many large requests; try again');
}
