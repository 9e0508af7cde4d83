/** One trustee's issuance log as it is read page by page, from its signed head backwards, each page checked. */
import { Fault, type HostId, type Verify } from '../../core.ts';
import { emptyHead, type IssuanceEntry, maxLogEntries } from './issuance-log.ts';
import type { LogAnswer } from './log-message.ts';
import { isGenuineHead, type SignedHead, verifyEntries } from './transparency.ts';

export class LogWalk {
  readonly trustee: HostId;
  /** As it was when the reading began. */
  head: SignedHead | null = null;
  /** In order, and leading to `head`. */
  entries: IssuanceEntry[] = [];
  /**
   * Why it is not read to its end: `no-answer`, `unreachable`, `busy`, `not-asked`, `head-forged`, `log-broken`,
   * `malformed`. Or, though it is: `shorter-than-told`.
   */
  problem: string | null = null;
  isOver = false;

  constructor(trustee: HostId) {
    this.trustee = trustee;
  }

  /** Which entries to ask for next, as a `LogRequest` says it. */
  get before(): number {
    return this.entries[0]?.sequence ?? 0;
  }

  fail(problem: string): void {
    this.problem = problem;
    this.isOver = true;
  }

  /** Takes what the trustee answered to a request for what is before `before`. `mesh` is the genesis' hash. */
  take(answer: LogAnswer, mesh: string, verify: Verify): void {
    if (answer.type === 'busy') {
      this.fail('busy');
      return;
    }
    try {
      if (this.head === null) this.begin(answer.head, answer.entries, mesh, verify);
      else this.goOn(answer.entries);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.fail(error.code);
    }
  }

  private begin(head: SignedHead, encoded: readonly Uint8Array[], mesh: string, verify: Verify): void {
    if (head.trustee !== this.trustee || !isGenuineHead(mesh, head, verify))
      throw new Fault('head-forged', 'the head is not signed by its trustee');
    if (head.sequence > 0) this.entries = verifyEntries(encoded, head);
    else if (head.hash !== emptyHead || encoded.length > 0)
      throw new Fault('log-broken', 'an empty log with entries');
    this.head = head;
    this.isOver = head.sequence === 0 || this.isAtEnd();
  }

  /** An empty page says that the log holds no older entries any more. */
  private goOn(encoded: readonly Uint8Array[]): void {
    const { sequence, previous } = this.entries[0]!;
    if (encoded.length > 0) {
      const older = verifyEntries(encoded, { sequence: sequence - 1, hash: previous });
      this.entries = [...older, ...this.entries];
    }
    this.isOver = encoded.length === 0 || this.isAtEnd();
  }

  private isAtEnd(): boolean {
    return this.entries[0]!.sequence === 1 || this.entries.length >= maxLogEntries;
  }
}
