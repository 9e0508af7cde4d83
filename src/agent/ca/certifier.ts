/**
 * Certificates for this host's services, and, where this host holds a root, for everybody's: the requesting
 * and the issuing machine of `src/trust`, tied to the agent's frames and store. Whether the founder or a quorum
 * of trustees issues is decided here and nowhere else.
 */
import { earliest, Fault, type HostId, type Millis, type Random, type Verify } from '../../core.ts';
import type { IdentityView } from '../../proxy/view.ts';
import { decodeIssueReply, type IssueReply } from '../../trust/issuance/issuance.ts';
import { type IssuerEffect, RootIssuer } from '../../trust/issuance/issuer.ts';
import type { LeafRules } from '../../trust/issuance/leaf-rules.ts';
import type { SoleKey } from '../../trust/issuance/sole-key.ts';
import {
  type SavedIdentity,
  type SvidEffect,
  type SvidInput,
  SvidKeeper,
} from '../../trust/issuance/svid.ts';
import type { IssuanceLog } from '../../trust/log/issuance-log.ts';
import type { TrustState } from '../../trust/state.ts';
import type { AgentEffect } from '../effects.ts';
import { seal } from '../envelope.ts';
import type { IdentityStatus } from '../port.ts';
import type { SignCsr } from './ca-port.ts';
import { IssuanceStats } from './issuance-stats.ts';
import { Petitions } from './petitions.ts';

export interface CertifierOptions {
  readonly self: HostId;
  readonly datacenter: string;
  readonly trust: TrustState;
  readonly verify: Verify;
  readonly random: Random;
  readonly ttlMs: number;
  /** The key of the genesis root, dropped when that signs no more; null on every host but the founder. */
  readonly rootSigner: SoleKey | null;
  readonly rules: LeafRules;
  readonly log: IssuanceLog;
  /** What the store held under `issuerPrefix`. */
  readonly issued: readonly (readonly [key: string, value: Uint8Array])[];
  /** Over how long the hosts of this mesh spread what all of them ask for at once. */
  readonly renewalSpreadMs: () => Millis;
  /** A service has another certificate now, or none any more. */
  readonly changed: (service: string) => void;
  /** Has the trustees of the active root answer a request frame of the keeper. */
  readonly askQuorum: (frame: Uint8Array, now: Millis) => AgentEffect[];
}

export class Certifier {
  readonly stats = new IssuanceStats();
  private readonly options: CertifierOptions;
  private readonly keeper: SvidKeeper;
  private readonly petitions: Petitions;
  /** Null on every host but the founder, and there once the genesis root signs no more. */
  private issuer: RootIssuer | null;
  private readonly held = new Map<string, IdentityView>();
  /** Requests under way by the host that was asked. */
  private readonly asked = new Map<HostId, Set<number>>();
  private services: readonly string[] = [];

  constructor(options: CertifierOptions) {
    const { trust, verify, random, ttlMs, datacenter, rootSigner, rules, log } = options;
    this.options = options;
    this.keeper = new SvidKeeper({
      trustDomain: trust.genesis.trustDomain,
      datacenter,
      bundle: trust.bundle,
      isDenied: (serial) => trust.denials.ofSerial(serial) !== undefined,
      verify,
      random,
      ttlMs,
      renewalSpreadMs: options.renewalSpreadMs,
    });
    this.petitions = new Petitions({
      ...options,
      saved: options.issued,
      ask: (requestId, frame, now) => this.ask(requestId, frame, now),
    });
    const { root } = trust.genesis;
    this.issuer =
      rootSigner === null || rootSigner.isDropped
        ? null
        : new RootIssuer({ root, signer: rootSigner, rules, log });
  }

  nextWake(): Millis | null {
    return earliest(this.keeper.nextWake(), this.petitions.nextWake(), this.issuer?.nextWake() ?? null);
  }

  wake(now: Millis): AgentEffect[] {
    this.stats.expire(now);
    return [...this.keep({ type: 'wake' }, now), ...this.petitions.wake(now)];
  }

  /** Whether something of what others hold, or wait for, ends now. */
  hasPetitionDue(now: Millis): boolean {
    return (this.petitions.nextWake() ?? now + 1) <= now;
  }

  /** Takes over what was saved before this start. */
  restore(saved: readonly SavedIdentity[], now: Millis): AgentEffect[] {
    return this.keep({ type: 'restore', saved }, now);
  }

  /** The complete set of services that need an identity. */
  setServices(services: readonly string[], now: Millis): AgentEffect[] {
    if (services.length === this.services.length && services.every((name, i) => name === this.services[i]))
      return [];
    this.services = services;
    return this.keep({ type: 'services', services }, now);
  }

  keyMade(service: string, csr: Uint8Array, keyPem: string, now: Millis): AgentEffect[] {
    return this.keep({ type: 'key-made', service, csr, keyPem }, now);
  }

  bundleChanged(now: Millis): AgentEffect[] {
    if (this.options.trust.bundle.active().generation > 0) {
      this.issuer = null;
      this.options.rootSigner?.drop();
    }
    return this.keep({ type: 'bundle-changed' }, now);
  }

  /** Certificates of this host may be among those that were denied. */
  denialsChanged(now: Millis): AgentEffect[] {
    return this.keep({ type: 'denials-changed' }, now);
  }

  /** A request from an authenticated peer, or from this host itself. */
  request(from: HostId, bytes: Uint8Array, now: Millis): AgentEffect[] {
    return (this.issuer?.step({ type: 'request', from, bytes }, now) ?? []).map((effect) =>
      this.issuerEffect(effect),
    );
  }

  /** Only the host that is asked can answer: anybody else could refuse in its name. */
  reply(from: HostId, bytes: Uint8Array, now: Millis): AgentEffect[] {
    return from === this.options.trust.genesis.founder ? this.answered(bytes, now) : [];
  }

  /** A host that may have been asked cannot be reached: whoever waits for it tries again later. */
  unreachable(peer: HostId, now: Millis): AgentEffect[] {
    const requests = this.asked.get(peer);
    this.asked.delete(peer);
    const reason = 'the issuing host cannot be reached';
    return [...(requests ?? [])].flatMap((requestId) => {
      this.stats.ended(requestId, 'unreachable', now);
      return Petitions.isPetition(requestId)
        ? this.petitions.failed(requestId, 'unreachable', reason, now)
        : this.keep({ type: 'request-failed', requestId, reason }, now);
    });
  }

  /** What became of a request, as a reply frame. What cannot be read answers nothing. */
  answered(bytes: Uint8Array, now: Millis): AgentEffect[] {
    let reply: IssueReply;
    try {
      reply = decodeIssueReply(bytes);
    } catch (error) {
      if (error instanceof Fault) return [];
      throw error;
    }
    this.stats.ended(reply.requestId, reply.type === 'issued' ? 'issued' : reply.code, now);
    return Petitions.isPetition(reply.requestId)
      ? this.petitions.answered(reply, now)
      : this.keep({ type: 'reply', bytes }, now);
  }

  /** Has the key of somebody else certified; `request` is answered once it is. Throws `Fault`. */
  sign(request: number, command: SignCsr, now: Millis): AgentEffect[] {
    return this.petitions.begin(request, command, now);
  }

  /** The oldest root that a certificate in use here comes from; the active one where none is. */
  oldestRootInUse(): number {
    const oldest = this.keeper.oldestRootInUse();
    return Math.min(oldest, this.petitions.oldestRootInUse() ?? oldest);
  }

  /** When the last certificate in use expires, of an agent or of somebody else's key; 0 where there is none. */
  lastExpiry(): Millis {
    const ends = [...this.held.values()].map(({ notAfter }) => notAfter);
    return Math.max(this.petitions.lastExpiry(), ...ends);
  }

  /** The same of those for keys of others alone. */
  lastExternalExpiry(): Millis {
    return this.petitions.lastExpiry();
  }

  /** Identities in use, by service. */
  identities(): IdentityView[] {
    return [...this.held.values()].sort((a, b) => (a.service < b.service ? -1 : 1));
  }

  statuses(now: Millis): IdentityStatus[] {
    return this.keeper.statuses(now);
  }

  private keep(input: SvidInput, now: Millis): AgentEffect[] {
    return this.keeper.step(input, now).flatMap((effect) => this.keeperEffect(effect, now));
  }

  private keeperEffect(effect: SvidEffect, now: Millis): AgentEffect[] {
    switch (effect.type) {
      case 'make-key':
        return [effect];
      case 'request':
        return this.ask(effect.requestId, effect.bytes, now);
      case 'identity': {
        const { service, spiffeId, certPem, keyPem, notAfter } = effect;
        this.held.set(service, { service, spiffeId, certPem, keyPem, notAfter });
        this.options.changed(service);
        return [{ type: 'keep-identity', identity: { service, certPem, keyPem } }];
      }
      case 'forget':
        this.held.delete(effect.service);
        this.options.changed(effect.service);
        return [{ type: 'drop-identity', service: effect.service }];
    }
  }

  /** The holder of the genesis root is the one issuer there is until a quorum of trustees takes over. */
  private ask(requestId: number, bytes: Uint8Array, now: Millis): AgentEffect[] {
    const { bundle, genesis } = this.options.trust;
    this.stats.asked(requestId, now);
    if (bundle.active().generation > 0) return this.options.askQuorum(bytes, now);
    const issuer = genesis.founder;
    const frame = seal('issueRequest', bytes);
    if (issuer === this.options.self)
      return [{ type: 'input', input: { type: 'frame', from: issuer, bytes: frame } }];
    const requests = this.asked.get(issuer) ?? new Set<number>();
    if (requests.size >= 4096) requests.clear(); // Long answered or timed out: the keeper bounds what is under way.
    this.asked.set(issuer, requests.add(requestId));
    return [{ type: 'send', to: issuer, bytes: frame }];
  }

  private issuerEffect(effect: IssuerEffect): AgentEffect {
    if (effect.type === 'persist')
      return { ...effect, then: effect.then.map((released) => this.issuerEffect(released)) };
    if (effect.type === 'logged') return { type: 'input', input: { type: 'epoch', event: effect } };
    const frame = seal('issueReply', effect.bytes);
    return effect.to === this.options.self
      ? { type: 'input', input: { type: 'frame', from: effect.to, bytes: frame } }
      : { type: 'send', to: effect.to, bytes: frame };
  }
}
