/**
 * A trustee's side of issuance: what it lends its share of a root key to. It decides on its own, twice: before
 * it promises nonces, and, since what it knows may have changed, before it signs. What it signed is durable
 * before anybody can see that it did: nonces spent twice would give its share away, and a signature that no
 * log knows could not be found out.
 */
import { assert, earliest, Fault, type HostId, type Machine, type Millis, unreachable } from '../../core.ts';
import type { ShareName } from '../epoch/crypto-port.ts';
import { maxNonces, nonceLifetimeMs } from '../frost/nonce-pool.ts';
import { RateLimiter } from '../issuance/rate.ts';
import { digestOf, type IssuanceEntry, type IssuanceLog, type IssuerStoreOp } from '../log/issuance-log.ts';
import type { EngineOrder, EngineReport } from './engine-port.ts';
import {
  decodeQuorumMessage,
  encodeQuorumMessage,
  isQuorumRequest,
  type QuorumAnswer,
  type QuorumRequest,
} from './message.ts';
import type { Purposes, Verdict } from './purpose.ts';

/** An epoch of whose key this host holds a share. */
export interface Office {
  readonly epoch: number;
  readonly shareName: ShareName;
  readonly generation: number;
  readonly threshold: number;
}

export type TrusteeInput =
  | { readonly type: 'wake' }
  /** A `QuorumRequest`; `from` is the key that the channel proved. */
  | { readonly type: 'message'; readonly from: HostId; readonly bytes: Uint8Array }
  /** Whatever the engine says; what does not answer an order from here changes nothing. */
  | { readonly type: 'engine'; readonly report: EngineReport }
  /** All epochs of whose keys this host holds shares now; replaces what was there before. */
  | { readonly type: 'offices'; readonly offices: readonly Office[] };

export type TrusteeEffect =
  /** A `QuorumAnswer`. May be lost. `to` may be this host itself. */
  | { readonly type: 'send'; readonly to: HostId; readonly bytes: Uint8Array }
  | { readonly type: 'engine'; readonly order: EngineOrder }
  /** The log is on disk up to this entry: to be confirmed there. */
  | { readonly type: 'logged'; readonly entry: IssuanceEntry }
  /** Only when `ops` are durable, release `then`. Persists are carried out in the order they came. */
  | {
      readonly type: 'persist';
      readonly ops: readonly IssuerStoreOp[];
      readonly sync: true;
      readonly then: readonly TrusteeEffect[];
    };

/** What a trustee asks the rest of its host. */
export interface TrusteeContext {
  /** How many other trustees of this epoch were heard from lately. */
  heardTrustees(epoch: number): number;
}

export interface TrusteeOptions {
  readonly purposes: Purposes;
  readonly log: IssuanceLog;
  readonly context: TrusteeContext;
}

/** Nonces promised for one request, and for nothing else. */
interface Pledge {
  readonly epoch: number;
  /** SHA-256 of the purpose. */
  readonly purpose: string;
  readonly expiresAt: Millis;
}

/** An order that the engine has not answered. */
interface Exchange {
  readonly from: HostId;
  readonly request: QuorumRequest;
  readonly deadline: Millis;
}

/** A host with many services starts with a request for each; afterwards renewals come hours apart. */
const rateLimits = { burst: 128, perSecond: 2, maxRequesters: 4096 };
/** Orders under way; the engine works through some hundreds a second. */
const maxExchanges = 1024;
/** The engine, or the disk before it, is not working if it takes longer. */
const engineTimeoutMs = 20_000;
/** After what passes by itself: contact lost, an epoch that has just begun, an engine that is busy. */
const shortPauseMs = 2000;
/** Codes of refusals that waiting helps against. */
const passing: ReadonlySet<string> = new Set([
  'isolated',
  'epoch-unknown',
  'wrong-root',
  'trustee-busy',
  'share-unknown',
  'nonce-quota',
  'nonces-exhausted',
  'engine-silent',
]);

export class QuorumTrustee implements Machine<TrusteeInput, TrusteeEffect> {
  private readonly options: TrusteeOptions;
  private readonly limiter = new RateLimiter(rateLimits);
  private offices = new Map<number, Office>();
  /** In the order of their expiry. In memory only: what was promised before a restart is never signed with. */
  private readonly pledges = new Map<string, Pledge>();
  /** In the order of their deadlines. */
  private readonly exchanges = new Map<number, Exchange>();
  private lastExchange = 0;

  constructor(options: TrusteeOptions) {
    this.options = options;
  }

  nextWake(): Millis | null {
    const [exchange] = this.exchanges.values();
    const [pledge] = this.pledges.values();
    return earliest(exchange?.deadline ?? null, pledge?.expiresAt ?? null);
  }

  /**
   * Codes of refusals: `malformed-request`, `rate-limited`, `epoch-unknown`, `isolated`, `wrong-root`,
   * `trustee-busy`, `unknown-purpose`, `nonce-unknown`, `engine-silent`, `issuance-log-broken`, and those of judges and of the engine.
   */
  step(input: TrusteeInput, now: Millis): readonly TrusteeEffect[] {
    switch (input.type) {
      case 'wake':
        return this.expire(now);
      case 'message':
        return this.take(input.from, input.bytes, now);
      case 'engine':
        return this.engineSaid(input.report, now);
      case 'offices':
        this.offices = new Map(input.offices.map((office) => [office.epoch, office]));
        return [];
      default:
        return unreachable(input);
    }
  }

  private take(from: HostId, bytes: Uint8Array, now: Millis): readonly TrusteeEffect[] {
    let request: QuorumRequest | null = null;
    let retryAfterMs = 0;
    try {
      const message = decodeQuorumMessage(bytes);
      if (!isQuorumRequest(message)) return [];
      request = message;
      if (message.type === 'contribute') return this.contribute(from, message, now);
      retryAfterMs = this.limiter.take(from, now);
      if (retryAfterMs > 0) throw new Fault('rate-limited', 'too many requests from this host');
      return this.ask(from, message, now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const code = error.code === 'malformed' ? 'malformed-request' : error.code;
      return [refusal(from, request, code, error.message, retryAfterMs)];
    }
  }

  /** Round one: nothing is remembered but the promise. */
  private ask(from: HostId, request: QuorumRequest & { readonly type: 'ask' }, now: Millis): TrusteeEffect[] {
    const { office } = this.decide(from, request, now);
    if (this.pledges.size >= maxNonces)
      throw new Fault('nonces-exhausted', 'too many promised nonces are waiting to be used');
    const exchange = this.begin(from, request, now);
    const { shareName: share } = office;
    return [{ type: 'engine', order: { type: 'offer', exchange, requester: from, share } }];
  }

  /**
   * Round two. The promise is gone whatever comes of it, and the engine is told to sign only when what is signed
   * with which nonces is on disk.
   */
  private contribute(
    from: HostId,
    request: QuorumRequest & { readonly type: 'contribute' },
    now: Millis,
  ): TrusteeEffect[] {
    const { epoch, purpose, nonceId, commitments } = request;
    const key = pledgeKey(from, request.requestId, nonceId);
    const pledge = this.pledges.get(key);
    this.pledges.delete(key);
    const isKept = pledge !== undefined && pledge.expiresAt > now;
    if (!isKept || pledge.epoch !== epoch || pledge.purpose !== digestOf(purpose))
      throw new Fault('nonce-unknown', 'no such nonces are promised for this');
    const { office, verdict } = this.decide(from, request, now);
    const { purposes, log } = this.options;
    const { entry, ops } = log.append({
      ...verdict.note,
      at: now,
      requester: from,
      digest: digestOf(verdict.message),
      nonceId,
      commitments: digestOf(commitments),
    });
    purposes.remember(purpose, verdict);
    const order: EngineOrder = {
      type: 'contribute',
      exchange: this.begin(from, request, now),
      requester: from,
      share: office.shareName,
      nonceId,
      commitments,
      message: verdict.message,
    };
    const then: TrusteeEffect[] = [
      { type: 'logged', entry },
      { type: 'engine', order },
    ];
    return [{ type: 'persist', ops: [...ops, ...verdict.ops], sync: true, then }];
  }

  /** The same in both rounds, the cheap checks first. Throws a `Fault` to refuse. */
  private decide(
    from: HostId,
    { epoch, purpose }: QuorumRequest,
    now: Millis,
  ): { readonly office: Office; readonly verdict: Verdict } {
    this.options.log.checkUsable();
    const office = this.offices.get(epoch);
    if (office === undefined)
      throw new Fault('epoch-unknown', `no share of the key of epoch ${epoch} is held here`);
    if (this.options.context.heardTrustees(epoch) < office.threshold - 1)
      throw new Fault('isolated', 'too few other trustees were heard from lately');
    if (this.exchanges.size >= maxExchanges)
      throw new Fault('trustee-busy', 'too many signatures are under way here');
    const verdict = this.options.purposes.judge(purpose, from, now);
    if (verdict.generation !== office.generation)
      throw new Fault('wrong-root', `the key of epoch ${epoch} is that of root g${office.generation}`);
    return { office, verdict };
  }

  private begin(from: HostId, request: QuorumRequest, now: Millis): number {
    const exchange = ++this.lastExchange;
    this.exchanges.set(exchange, { from, request, deadline: now + engineTimeoutMs });
    return exchange;
  }

  private engineSaid(report: EngineReport, now: Millis): TrusteeEffect[] {
    if (report.type !== 'offered' && report.type !== 'contributed' && report.type !== 'declined') return [];
    const exchange = this.exchanges.get(report.exchange);
    if (exchange === undefined) return [];
    this.exchanges.delete(report.exchange);
    const { from, request } = exchange;
    const { requestId, attempt } = request;
    if (report.type === 'declined') return [refusal(from, request, report.code, report.detail, 0)];
    assert((report.type === 'offered') === (request.type === 'ask'), 'the engine answers what it was told');
    if (report.type === 'contributed')
      return [answer(from, { type: 'share', requestId, attempt, bytes: report.share })];
    const { nonceId, commitment: bytes } = report;
    const key = pledgeKey(from, requestId, nonceId);
    // Of the genesis key, which needs no nonces, all have one name: the last to be set is the last to expire.
    this.pledges.delete(key);
    this.pledges.set(key, {
      epoch: request.epoch,
      purpose: digestOf(request.purpose),
      expiresAt: now + nonceLifetimeMs,
    });
    return [answer(from, { type: 'commitment', requestId, attempt, nonceId, bytes })];
  }

  private expire(now: Millis): TrusteeEffect[] {
    for (const [key, pledge] of this.pledges) {
      if (pledge.expiresAt > now) break;
      this.pledges.delete(key);
    }
    const effects: TrusteeEffect[] = [];
    for (const [id, { from, request, deadline }] of this.exchanges) {
      if (deadline > now) break;
      this.exchanges.delete(id);
      effects.push(refusal(from, request, 'engine-silent', 'the share could not be used in time', 0));
    }
    return effects;
  }
}

function pledgeKey(from: HostId, requestId: number, nonceId: string): string {
  return `${from}/${requestId}/${nonceId}`;
}

function answer(to: HostId, message: QuorumAnswer): TrusteeEffect {
  return { type: 'send', to, bytes: encodeQuorumMessage(message) };
}

/** Of what could not be read as a request, the ids are 0. */
function refusal(
  to: HostId,
  request: QuorumRequest | null,
  code: string,
  message: string,
  retryAfterMs: number,
): TrusteeEffect {
  return answer(to, {
    type: 'refused',
    requestId: request?.requestId ?? 0,
    attempt: request?.attempt ?? 0,
    code,
    message,
    retryAfterMs: Math.max(retryAfterMs, passing.has(code) ? shortPauseMs : 0),
  });
}
