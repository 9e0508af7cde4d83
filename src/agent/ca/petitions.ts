/**
 * Certificates for keys that this host does not hold: somebody of it made a key, and a signing request for a
 * service that the host may be. The same rules as for the host's own; and until such a certificate expires, the
 * root that it comes from counts as in use by this host. What users ask for here never keeps the host from renewing
 * its own. Pure.
 */
import {
  ByteReader,
  ByteWriter,
  earliest,
  Fault,
  type HostId,
  type Millis,
  type Verify,
} from '../../core.ts';
import { latestTime } from '../../trust/fields.ts';
import { encodeIssueRequest, type IssueReply } from '../../trust/issuance/issuance.ts';
import { RateLimiter, type RateLimits } from '../../trust/issuance/rate.ts';
import { issuerPrefix } from '../../trust/log/issuance-log.ts';
import type { TrustState } from '../../trust/state.ts';
import { parseCertificate } from '../../trust/x509/certificate.ts';
import { parseCsr } from '../../trust/x509/csr.ts';
import { wholeSeconds } from '../../trust/x509/root.ts';
import { verifySvidProfile } from '../../trust/x509/svid-profile.ts';
import { certificateProfile, pemOf } from '../../trust/x509/x509.ts';
import type { AgentEffect } from '../effects.ts';
import type { SignCsr, SignedChain } from './ca-port.ts';

export interface PetitionOptions {
  readonly self: HostId;
  readonly trust: TrustState;
  readonly verify: Verify;
  /** Asked for where the petitioner names no time, milliseconds. */
  readonly ttlMs: number;
  /** What the store held under `issuerPrefix`. */
  readonly saved: Iterable<readonly [key: string, value: Uint8Array]>;
  /** Sends a request frame to whoever issues; its answer, if any comes, is given to `answered`. */
  readonly ask: (requestId: number, frame: Uint8Array, now: Millis) => AgentEffect[];
}

interface Petition {
  /** Of the command. */
  readonly request: number;
  readonly command: SignCsr;
  readonly spki: Buffer;
  readonly deadline: Millis;
  /** Of the root that was asked for it; null until its turn has come. */
  generation: number | null;
}

const maxPetitions = 8;
/** Of these, for users that do not own the host, and for one of them. */
const maxForUsers = 6;
const maxForUser = 3;
/** Half of what a host has signed at a time: its own renewals never wait behind more. */
const maxAsked = 2;
/** For all users, and for one: half of what trustees sign for a host, and half of that. */
const rateForUsers: RateLimits = { burst: 64, perSecond: 1, maxRequesters: 1 };
const rateForUser: RateLimits = { burst: 32, perSecond: 0.5, maxRequesters: 256 };
const answerWithinMs = 10_000;
/** Requests of the `SvidKeeper` are numbered from 1, those here from this on. */
const firstRequestId = 2 ** 31;
const prefix = `${issuerPrefix}external/`;

export class Petitions {
  private readonly options: PetitionOptions;
  /** In the order they came. */
  private readonly waiting = new Map<number, Petition>();
  private readonly users = new RateLimiter(rateForUsers);
  private readonly user = new RateLimiter(rateForUser);
  /** Until when a certificate of each root lasts, by generation. */
  private readonly inUse = new Map<number, Millis>();
  private lastRequestId = firstRequestId;

  constructor(options: PetitionOptions) {
    this.options = options;
    for (const [key, value] of options.saved)
      if (key.startsWith(prefix))
        this.inUse.set(Number(key.slice(prefix.length)), new ByteReader(value).varint(latestTime));
  }

  /** Whether a reply or a failure of this number is for a petition. */
  static isPetition(requestId: number): boolean {
    return requestId >= firstRequestId;
  }

  nextWake(): Millis | null {
    let wake: Millis | null = null;
    for (const { deadline } of this.waiting.values()) wake = earliest(wake, deadline);
    for (const notAfter of this.inUse.values()) wake = earliest(wake, notAfter);
    return wake;
  }

  wake(now: Millis): AgentEffect[] {
    const effects: AgentEffect[] = [];
    for (const [requestId, { deadline }] of this.waiting)
      if (now >= deadline) effects.push(...this.end(requestId, 'timed-out', 'no issuer answered in time'));
    effects.push(...this.askNext(now));
    for (const [generation, notAfter] of this.inUse) {
      if (now < notAfter) continue;
      this.inUse.delete(generation);
      effects.push({
        type: 'persist',
        ops: [{ type: 'delete', key: keyOf(generation) }],
        sync: false,
        then: [],
      });
    }
    return effects;
  }

  /** The oldest root that a certificate comes from which may still be in use; null where none does. */
  oldestRootInUse(): number | null {
    let oldest: number | null = null;
    for (const { generation } of this.waiting.values())
      if (generation !== null) oldest = Math.min(oldest ?? generation, generation);
    for (const generation of this.inUse.keys()) oldest = Math.min(oldest ?? generation, generation);
    return oldest;
  }

  /** When the last of those certificates expires; 0 where there is none. */
  lastExpiry(): Millis {
    return Math.max(0, ...this.inUse.values());
  }

  /** Throws `Fault`: `overloaded`, `rate-limited`, and those of `parseCsr` with the field `csr`. */
  begin(request: number, command: SignCsr, now: Millis): AgentEffect[] {
    this.checkRoom(command.user);
    const { spki } = parseCsr(command.csr);
    this.checkRate(command.user, now);
    const deadline = now + answerWithinMs;
    this.waiting.set(++this.lastRequestId, { request, command, spki, deadline, generation: null });
    return this.askNext(now);
  }

  private checkRoom(user: number | null): void {
    const all = [...this.waiting.values()];
    const ofUsers = all.filter(({ command }) => command.user !== null);
    const own = ofUsers.filter(({ command }) => command.user === user);
    const isFull = user !== null && (ofUsers.length >= maxForUsers || own.length >= maxForUser);
    if (isFull || all.length >= maxPetitions)
      throw new Fault('overloaded', `${all.length} requests to sign wait already; try again`);
  }

  private checkRate(user: number | null, now: Millis): void {
    if (user === null) return;
    const waitMs = this.user.take(`${user}`, now) || this.users.take('', now);
    if (waitMs > 0)
      throw new Fault(
        'rate-limited',
        `too many requests to sign; try again in ${Math.ceil(waitMs / 1000)} s`,
      );
  }

  /** Has those signed whose turn it is. */
  private askNext(now: Millis): AgentEffect[] {
    const effects: AgentEffect[] = [];
    for (const [requestId, petition] of this.waiting) {
      if ([...this.waiting.values()].filter(({ generation }) => generation !== null).length >= maxAsked)
        break;
      if (petition.generation !== null) continue;
      try {
        effects.push(...this.ask(requestId, petition, now));
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        effects.push(...this.end(requestId, error.code, error.message));
      }
    }
    return effects;
  }

  private ask(requestId: number, petition: Petition, now: Millis): AgentEffect[] {
    const { trust, ttlMs } = this.options;
    const { csr } = petition.command;
    petition.generation = trust.bundle.active().generation;
    const frame = encodeIssueRequest({
      requestId,
      profile: certificateProfile,
      generation: petition.generation,
      csr,
      issuedAt: wholeSeconds(now),
      ttlMs: petition.command.ttlMs ?? ttlMs,
    });
    return this.options.ask(requestId, frame, now);
  }

  /** A late or repeated answer finds nobody waiting and changes nothing. */
  answered(reply: IssueReply, now: Millis): AgentEffect[] {
    const petition = this.waiting.get(reply.requestId);
    if (petition === undefined) return [];
    if (reply.type === 'refused') return this.failed(reply.requestId, reply.code, reply.message, now);
    try {
      const { value, generation } = this.checked(petition, reply.chain, now);
      this.waiting.delete(reply.requestId);
      return [...this.granted(petition.request, value, generation), ...this.askNext(now)];
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const message = `the issuer sent a wrong certificate: ${error.message}`;
      return this.failed(reply.requestId, 'issuer-wrong', message, now);
    }
  }

  failed(requestId: number, code: string, message: string, now: Millis): AgentEffect[] {
    return [...this.end(requestId, code, message), ...this.askNext(now)];
  }

  private end(requestId: number, code: string, message: string): AgentEffect[] {
    const petition = this.waiting.get(requestId);
    if (petition === undefined) return [];
    this.waiting.delete(requestId);
    return [{ type: 'fail', request: petition.request, fault: new Fault(code, message) }];
  }

  /** As if nobody could be trusted to have made it well; throws a `Fault`. */
  private checked(
    { spki }: Petition,
    chain: readonly Uint8Array[],
    now: Millis,
  ): { readonly value: SignedChain; readonly generation: number } {
    const { trust, verify, self } = this.options;
    const svid = verifySvidProfile(chain[0]!, trust.genesis.trustDomain, now);
    const certificate = parseCertificate(chain[0]!);
    if (!certificate.spki.equals(spki)) throw new Fault('svid-key', 'the certificate is for another key');
    const root = trust.bundle
      .believed()
      .find(({ publicKey }) => verify(publicKey, certificate.tbs, certificate.signature));
    if (root === undefined)
      throw new Fault('svid-untrusted', 'the certificate is not signed by a root of the trust bundle');
    const { spiffeId, serial, notBefore, notAfter } = svid;
    const certPem = chain.map((der) => pemOf(der)).join('');
    const value = { host: self, spiffeId, serial, certPem, notBefore, notAfter, generation: root.generation };
    return { value, generation: root.generation };
  }

  /** It leaves this host once it is on disk that its root is in use. */
  private granted(request: number, value: SignedChain, generation: number): AgentEffect[] {
    const until = Math.max(value.notAfter, this.inUse.get(generation) ?? 0);
    this.inUse.set(generation, until);
    const put = {
      type: 'put',
      key: keyOf(generation),
      value: new ByteWriter().varint(until).done(),
    } as const;
    return [{ type: 'persist', ops: [put], sync: true, then: [{ type: 'reply', request, value }] }];
  }
}

function keyOf(generation: number): string {
  return `${prefix}${generation}`;
}
