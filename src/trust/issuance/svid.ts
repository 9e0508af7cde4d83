/**
 * Keeps every service of this host in certificates: a key, a request, a check of what comes back, and the
 * next one in good time. Renewal starts at a third of the lifetime, so that with certificates of twelve hours
 * eight hours without any issuer hurt nobody.
 */
import { createPublicKey } from 'node:crypto';
import { assert, earliest, Fault, type Machine, type Millis, messageOf } from '../../core.ts';
import { certificatesOfPem, parseCertificate } from '../x509/certificate.ts';
import { backdateMs, type Root, wholeSeconds } from '../x509/root.ts';
import { dnsNamesOf, formatSpiffeId, type ServiceIdentity } from '../x509/spiffe.ts';
import { type Svid, verifySvidProfile } from '../x509/svid-profile.ts';
import { certificateProfile, pemOf } from '../x509/x509.ts';
import { decodeIssueReply, encodeIssueRequest, type IssueReply } from './issuance.ts';
import type { SavedIdentity, SvidEffect, SvidInput, SvidOptions, SvidStatus } from './svid-port.ts';

export type { SavedIdentity, SvidEffect, SvidInput, SvidOptions, SvidStatus };

/** Services of one host that get identities; what is named beyond them gets none and says so. */
export const maxServices = 1024;
const answerTimeoutMs = 10_000;
const firstBackoffMs = 1000;
const longestBackoffMs = 60_000;

type Phase = 'held' | 'key' | 'reply' | 'backoff';

interface Held {
  readonly svid: Svid;
  readonly certPem: string;
  readonly keyPem: string;
  /** Key of the root that signed it. */
  readonly root: string;
}

interface Entry {
  readonly identity: ServiceIdentity;
  phase: Phase;
  /** When the phase ends by itself. */
  deadline: Millis;
  failures: number;
  problem: string | null;
  /** A key that has no certificate yet; kept over failures. */
  key: { readonly csr: Uint8Array; readonly keyPem: string } | null;
  requestId: number;
  /** Generation of the root that the last request was for. */
  askedOf: number;
  held: Held | null;
}

export class SvidKeeper implements Machine<SvidInput, SvidEffect> {
  private readonly options: SvidOptions;
  private readonly entries = new Map<string, Entry>();
  /** Restored, and not yet asked for by `services`. */
  private readonly restored = new Map<string, SavedIdentity>();
  private readonly refused = new Set<string>();
  private lastRequestId = 0;

  constructor(options: SvidOptions) {
    this.options = options;
  }

  nextWake(): Millis | null {
    let wake: Millis | null = null;
    for (const entry of this.entries.values()) wake = earliest(wake, entry.deadline);
    return wake;
  }

  step(input: SvidInput, now: Millis): readonly SvidEffect[] {
    switch (input.type) {
      case 'wake':
        return this.wake(now);
      case 'services':
        return this.setServices(input.services, now);
      case 'restore':
        return this.restore(input.saved, now);
      case 'key-made':
        return this.keyMade(input.service, { csr: input.csr, keyPem: input.keyPem }, now);
      case 'reply':
        return this.reply(input.bytes, now);
      case 'request-failed': {
        const entry = this.awaiting(input.requestId);
        if (entry !== undefined) this.fail(entry, input.reason, 0, now);
        return [];
      }
      case 'bundle-changed':
        return this.bundleChanged(now);
      case 'denials-changed':
        return this.denialsChanged(now);
    }
  }

  /** By service name. */
  statuses(now: Millis): SvidStatus[] {
    const statuses: SvidStatus[] = [];
    for (const { identity, held, problem } of this.entries.values()) {
      const notAfter = held?.svid.notAfter ?? 0;
      const expired = held !== null && now >= notAfter ? 'the certificate has expired' : null;
      const pending = held === null ? 'waiting for the first certificate' : null;
      statuses.push({
        service: identity.service,
        spiffeId: formatSpiffeId(identity),
        notBefore: held?.svid.notBefore ?? 0,
        notAfter,
        problem: problem ?? expired ?? pending,
      });
    }
    for (const service of this.refused)
      statuses.push({
        service,
        spiffeId: formatSpiffeId(this.identityOf(service)),
        notBefore: 0,
        notAfter: 0,
        problem: `one host has identities for ${maxServices} services at most`,
      });
    return statuses.sort((a, b) => (a.service < b.service ? -1 : 1));
  }

  /** The oldest root that a certificate in use comes from; the active one where none is in use. */
  oldestRootInUse(): number {
    const { bundle } = this.options;
    const generations = new Map(
      bundle.believed().map(({ publicKey, generation }) => [publicKey, generation]),
    );
    let oldest = bundle.active().generation;
    for (const { held } of this.entries.values())
      if (held !== null) oldest = Math.min(oldest, generations.get(held.root) ?? oldest);
    return oldest;
  }

  private identityOf(service: string): ServiceIdentity {
    const { trustDomain, datacenter } = this.options;
    return { trustDomain, datacenter, service };
  }

  private setServices(services: readonly string[], now: Millis): SvidEffect[] {
    const effects: SvidEffect[] = [];
    const wanted = new Set(services);
    for (const service of this.entries.keys())
      if (!wanted.has(service)) {
        this.entries.delete(service);
        effects.push({ type: 'forget', service });
      }
    this.refused.clear();
    for (const service of wanted) {
      if (this.entries.has(service)) continue;
      if (this.entries.size >= maxServices) this.refused.add(service);
      else effects.push(...this.add(service, now));
    }
    return effects;
  }

  private add(service: string, now: Millis): SvidEffect[] {
    const entry: Entry = {
      identity: this.identityOf(service),
      phase: 'backoff',
      deadline: now,
      failures: 0,
      problem: null,
      key: null,
      requestId: 0,
      askedOf: 0,
      held: null,
    };
    this.entries.set(service, entry);
    const saved = this.restored.get(service);
    this.restored.delete(service);
    const restored = saved === undefined ? null : this.adopt(entry, saved, now);
    return restored === null ? this.start(entry, now) : [restored];
  }

  private restore(saved: readonly SavedIdentity[], now: Millis): SvidEffect[] {
    const effects: SvidEffect[] = [];
    for (const one of saved) {
      const entry = this.entries.get(one.service);
      if (entry === undefined) {
        if (this.restored.size < maxServices) this.restored.set(one.service, one);
      } else if (entry.held === null) {
        const restored = this.adopt(entry, one, now);
        if (restored !== null) effects.push(restored);
      }
    }
    return effects;
  }

  /** Uses a saved identity if it is still good; else there will be a new one soon enough. */
  private adopt(entry: Entry, saved: SavedIdentity, now: Millis): SvidEffect | null {
    try {
      const chain = certificatesOfPem(saved.certPem);
      return this.accept(entry, chain, saved.keyPem, now);
    } catch (error) {
      if (error instanceof Fault) return null;
      throw error;
    }
  }

  private wake(now: Millis): SvidEffect[] {
    const effects: SvidEffect[] = [];
    for (const entry of this.entries.values()) {
      if (now < entry.deadline) continue;
      if (entry.phase === 'key') this.fail(entry, 'no key was made in time', 0, now);
      else if (entry.phase === 'reply') this.fail(entry, 'no issuer answered in time', 0, now);
      else effects.push(...this.start(entry, now));
    }
    return effects;
  }

  private start(entry: Entry, now: Millis): SvidEffect[] {
    if (entry.key !== null) return this.request(entry, entry.key.csr, now);
    entry.phase = 'key';
    entry.deadline = now + answerTimeoutMs;
    return [
      {
        type: 'make-key',
        service: entry.identity.service,
        spiffeId: formatSpiffeId(entry.identity),
        dnsNames: dnsNamesOf(entry.identity),
      },
    ];
  }

  private keyMade(service: string, key: NonNullable<Entry['key']>, now: Millis): SvidEffect[] {
    const entry = this.entries.get(service);
    if (entry === undefined || entry.phase !== 'key') return [];
    entry.key = key;
    return this.request(entry, key.csr, now);
  }

  private request(entry: Entry, csr: Uint8Array, now: Millis): SvidEffect[] {
    const root = this.options.bundle.active();
    this.lastRequestId = (this.lastRequestId % 0xffff_ffff) + 1;
    entry.requestId = this.lastRequestId;
    entry.askedOf = root.generation;
    entry.phase = 'reply';
    entry.deadline = now + answerTimeoutMs;
    const bytes = encodeIssueRequest({
      requestId: entry.requestId,
      profile: certificateProfile,
      generation: root.generation,
      csr,
      issuedAt: wholeSeconds(now),
      ttlMs: this.options.ttlMs,
    });
    return [{ type: 'request', service: entry.identity.service, requestId: entry.requestId, bytes }];
  }

  private awaiting(requestId: number): Entry | undefined {
    for (const entry of this.entries.values())
      if (entry.phase === 'reply' && entry.requestId === requestId) return entry;
    return undefined;
  }

  /** A late, repeated or foreign reply finds nobody waiting and changes nothing. */
  private reply(bytes: Uint8Array, now: Millis): SvidEffect[] {
    let reply: IssueReply;
    try {
      reply = decodeIssueReply(bytes);
    } catch (error) {
      if (error instanceof Fault) return [];
      throw error;
    }
    const entry = this.awaiting(reply.requestId);
    if (entry === undefined) return [];
    if (reply.type === 'refused') {
      this.fail(entry, `${reply.code}: ${reply.message}`, reply.retryAfterMs, now);
      return [];
    }
    assert(entry.key !== null, 'a request is only sent for a key');
    try {
      const effect = this.accept(entry, reply.chain, entry.key.keyPem, now);
      entry.key = null;
      return [effect];
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.fail(entry, `the issuer sent a wrong certificate: ${error.message}`, 0, now);
      return [];
    }
  }

  /** Checks a certificate as if nobody could be trusted to have made it well; throws a Fault. */
  private accept(
    entry: Entry,
    chain: readonly Uint8Array[],
    keyPem: string,
    now: Millis,
  ): SvidEffect & { type: 'identity' } {
    const leaf = chain[0]!;
    const svid = verifySvidProfile(leaf, this.options.trustDomain, now);
    if (this.options.isDenied(svid.serial))
      throw new Fault('svid-denied', 'the certificate was denied by an operator');
    if (svid.spiffeId !== formatSpiffeId(entry.identity))
      throw new Fault('svid-names', `the certificate is for ${svid.spiffeId}`);
    const certificate = parseCertificate(leaf);
    if (!certificate.spki.equals(publicKeyOf(keyPem)))
      throw new Fault('svid-key', 'the certificate is for another key');
    const root = this.options.bundle
      .believed()
      .find((one: Root) => this.options.verify(one.publicKey, certificate.tbs, certificate.signature));
    if (root === undefined)
      throw new Fault('svid-untrusted', 'the certificate is not signed by a root of the trust bundle');

    const certPem = chain.map((der) => pemOf(der)).join('');
    entry.held = { svid, certPem, keyPem, root: root.publicKey };
    entry.phase = 'held';
    entry.failures = 0;
    entry.problem = null;
    entry.deadline = this.renewalOf(svid, now);
    const { spiffeId, notBefore, notAfter } = svid;
    return { type: 'identity', service: svid.service, spiffeId, certPem, keyPem, notBefore, notAfter };
  }

  /**
   * Between a third and half of the life of the certificate, spread so that hosts do not renew together; and
   * not at once, however little of its root's life is left to it.
   */
  private renewalOf(svid: Svid, now: Millis): Millis {
    const issuedAt = Math.min(svid.notBefore + backdateMs, svid.notAfter);
    const renewAt = issuedAt + (svid.notAfter - issuedAt) * (1 / 3 + this.options.random.next() / 6);
    return Math.max(renewAt, now + firstBackoffMs);
  }

  /**
   * What another root signed is renewed before long, and at once where nobody believes that root any more, as
   * after a long absence; who waits for one of another root asks at once.
   */
  private bundleChanged(now: Millis): SvidEffect[] {
    const active = this.options.bundle.active();
    const believed = new Set(this.options.bundle.believed().map(({ publicKey }) => publicKey));
    const effects: SvidEffect[] = [];
    const spreadMs = Math.min(this.options.renewalSpreadMs(), this.options.ttlMs / 12);
    for (const entry of this.entries.values()) {
      const isAskedInVain = entry.key !== null && entry.askedOf !== active.generation;
      if ((entry.phase === 'reply' || entry.phase === 'backoff') && isAskedInVain)
        effects.push(...this.start(entry, now));
      else if (entry.phase === 'held' && entry.held !== null && entry.held.root !== active.publicKey) {
        const waitMs = believed.has(entry.held.root) ? this.options.random.next() * spreadMs : 0;
        entry.deadline = Math.min(entry.deadline, now + waitMs);
      }
    }
    return effects;
  }

  /** Another key with it: who denies a certificate fears for its key. Until there is one, the old one is all there is. */
  private denialsChanged(now: Millis): SvidEffect[] {
    const effects: SvidEffect[] = [];
    for (const entry of this.entries.values()) {
      if (entry.phase !== 'held' || !this.options.isDenied(entry.held!.svid.serial)) continue;
      entry.problem = 'its certificate was denied by an operator';
      effects.push(...this.start(entry, now));
    }
    return effects;
  }

  /** Tries again after a pause that doubles up to a minute (less for short-lived certificates), and is spread. */
  private fail(entry: Entry, problem: string, retryAfterMs: number, now: Millis): void {
    const cap = Math.min(longestBackoffMs, Math.max(firstBackoffMs, this.options.ttlMs / 12));
    const pause = Math.min(cap, firstBackoffMs * 2 ** Math.min(entry.failures, 16));
    entry.failures++;
    entry.problem = problem;
    entry.phase = 'backoff';
    entry.deadline = now + Math.max(pause * (0.5 + this.options.random.next() / 2), retryAfterMs);
  }
}

/** DER of the public half of a PEM key. Throws `Fault('svid-key')`. */
function publicKeyOf(keyPem: string): Uint8Array {
  try {
    return createPublicKey(keyPem).export({ type: 'spki', format: 'der' });
  } catch (error) {
    throw new Fault('svid-key', `the private key cannot be read: ${messageOf(error)}`);
  }
}
