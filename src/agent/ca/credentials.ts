/**
 * All that has to do with certificates on this host: those of its services, and its part in the root that they
 * come from. Puts the parts together and says which of them an input is for. Pure.
 */
import { earliest, Fault, type HostId, type Millis } from '../../core.ts';
import type { Member } from '../../gossip/port.ts';
import type { ProxyConfig } from '../../proxy/config.ts';
import type { IdentityView } from '../../proxy/view.ts';
import type { EpochStatus } from '../../trust/epoch/agreement.ts';
import { defaultTimings, epochPrefix } from '../../trust/epoch/port.ts';
import { LeafRules } from '../../trust/issuance/leaf-rules.ts';
import { IssuanceLog, issuerPrefix } from '../../trust/log/issuance-log.ts';
import type { EngineReport } from '../../trust/quorum/engine-port.ts';
import { requireOperator } from '../commands.ts';
import type { AgentOptions } from '../core.ts';
import type { AgentEffect, EpochEvent, SavedState } from '../effects.ts';
import type { EnvelopeRoom } from '../envelope.ts';
import type { Knowledge } from '../knowledge.ts';
import { type IdentityStatus, leafTopic } from '../port.ts';
import type { CaLogAlarm, CaQuestion, CaStatus } from './ca-port.ts';
import { caStatus } from './ca-status.ts';
import { Certifier } from './certifier.ts';
import type { IssuanceStats } from './issuance-stats.ts';
import { Ledger } from './ledger.ts';
import { Presence } from './presence.ts';
import { Quorum, type QuorumOptions } from './quorum.ts';
import { type RecoverySources, recoveryOrder, recoveryStatus } from './recovery.ts';
import { RootStanding } from './root-standing.ts';
import { Succession } from './succession.ts';

export interface CredentialsOptions extends Pick<QuorumOptions, 'write' | 'rootLearnt'> {
  readonly agent: AgentOptions;
  readonly knowledge: Knowledge;
  readonly saved: SavedState;
  readonly startedAt: Millis;
}

/** Whether the store keeps this entry for certificates and epochs, not for records. */
export function isCredential(key: string): boolean {
  return key.startsWith(issuerPrefix) || key.startsWith(epochPrefix);
}

/** When another root signs: a few services a host then make some ten certificates a second, whoever signs them. */
const renewalSpreadPerHostMs = 300;

export class Credentials {
  readonly log: IssuanceLog;
  readonly standing: RootStanding;
  private readonly options: CredentialsOptions;
  private readonly presence: Presence;
  private readonly succession: Succession;
  private readonly certifier: Certifier;
  private denialsSeen = 0;
  private readonly quorum: Quorum;
  private readonly ledger: Ledger;
  /** What the data plane serves by. */
  private inForce: ProxyConfig | null = null;

  /** Throws `Fault('trustee-policy')`. */
  constructor(options: CredentialsOptions) {
    const { agent, knowledge, saved, startedAt } = options;
    const { trust, catalog, trustFacts: facts } = knowledge;
    const self = agent.signer.publicKey;
    this.options = options;
    const kept = saved.entries.map(({ key, value }) => [key, value] as const);
    const issued = kept.filter(([key]) => key.startsWith(issuerPrefix));
    this.log = openLog(issued);
    const rules = new LeafRules(
      {
        admissionOf: (host) => trust.admissionOf(host),
        mayServe: (host, service) => trust.mayServe(host, service),
        usesOf: (grantId) => trust.usesOf(grantId),
        isDenied: (host) => trust.isDenied(host),
      },
      issued,
    );
    this.presence = new Presence(startedAt);
    this.presence.note(self, 'alive', startedAt);
    const agreement = () => this.succession.agreement;
    const { settleMs, replaceAfterMs, refreshMs } = agent.trustees;
    this.standing = new RootStanding({
      self,
      trust,
      facts,
      catalog,
      presence: this.presence,
      rootLifetimeMs: agent.rootTtlMs,
      leaveGraceMs: Math.max(settleMs, replaceAfterMs / 10),
      refreshMs,
      agreement,
    });
    this.succession = new Succession({
      ...agent,
      self,
      policy: agent.trustees,
      timings: defaultTimings,
      saved: kept.filter(([key]) => key.startsWith(epochPrefix)),
      secrets: saved.secrets,
      view: (now) => this.standing.trusteeView(now),
      isEndorsed: (hash) => this.standing.isEndorsed(hash),
      laterRecord: (epoch, now) => facts.laterEpochRecord(epoch, now, agent.random),
    });
    const { succession, standing, log } = this;
    this.certifier = new Certifier({
      ...agent,
      self,
      datacenter: agent.host.datacenter,
      trust,
      ttlMs: agent.svidTtlMs,
      rules,
      log,
      issued,
      changed: (service) => knowledge.catalog.touch(leafTopic(service)),
      renewalSpreadMs: () => catalog.presentHosts().length * renewalSpreadPerHostMs,
      askQuorum: (frame, now) => this.quorum.requestLeaf(frame, now),
    });
    this.quorum = new Quorum({
      ...agent,
      ...options,
      self,
      trust,
      facts,
      standing,
      succession,
      rules,
      log,
      leafAnswered: (reply, now) => this.answered(this.certifier.answered(reply, now), now),
    });
    this.ledger = new Ledger({
      ...agent,
      self,
      trust,
      catalog,
      facts,
      log,
      trustees: () => agreement().current.plan.trustees,
      trusteesEver: () => agreement().trustees(),
      write: (own, now) => options.write(own, [], now),
    });
  }

  nextWake(): Millis | null {
    return earliest(this.certifier.nextWake(), this.quorum.nextWake(), this.ledger.nextWake());
  }

  wake(now: Millis): AgentEffect[] {
    const mayRelease = this.certifier.hasPetitionDue(now);
    const effects = [...this.certifier.wake(now), ...this.quorum.wake(now), ...this.ledger.wake(now)];
    // What others hold of an older root may have expired.
    if (mayRelease) this.acknowledge(now);
    return effects;
  }

  /** Takes up what was saved before this start. */
  restore(now: Millis): AgentEffect[] {
    const damaged = this.damage.map(
      ({ code, message }): AgentEffect => ({
        type: 'log',
        level: 'error',
        event: code,
        fields: { detail: message },
      }),
    );
    return [...damaged, ...this.certifier.restore(this.options.saved.identities, now)];
  }

  /**
   * What of this host's part in the root cannot be used: `epoch-state-broken`, where it is no trustee any more;
   * `issuance-log-broken`, where it signs nothing.
   */
  get damage(): readonly Fault[] {
    return [this.succession.damage, this.log.problem].filter((fault) => fault !== null);
  }

  frame(room: Exclude<EnvelopeRoom, 'gossip'>, from: HostId, bytes: Uint8Array, now: Millis): AgentEffect[] {
    if (room === 'issueRequest') return this.certifier.request(from, bytes, now);
    if (room === 'issueReply') return this.answered(this.certifier.reply(from, bytes, now), now);
    if (room === 'logRequest') return this.ledger.request(from, bytes, now);
    if (room === 'logAnswer') return this.ledger.answer(from, bytes, now);
    return this.quorum.frame(room, from, bytes, now);
  }

  /** Somebody else's key may have been certified: who gets the certificate is not to outrun word of it. */
  private answered(effects: AgentEffect[], now: Millis): AgentEffect[] {
    this.acknowledge(now);
    return effects;
  }

  engine(report: EngineReport, now: Millis): AgentEffect[] {
    return this.quorum.engine(report, now);
  }

  epoch(event: EpochEvent, now: Millis): void {
    if (event.type === 'logged') this.log.confirm(event.entry);
    else this.quorum.epoch(event, now);
  }

  keyMade(service: string, csr: Uint8Array, keyPem: string, now: Millis): AgentEffect[] {
    return this.certifier.keyMade(service, csr, keyPem, now);
  }

  unreachable(peer: HostId, now: Millis): AgentEffect[] {
    return [
      ...this.certifier.unreachable(peer, now),
      ...this.quorum.unreachable(peer, now),
      ...this.ledger.unreachable(peer, now),
    ];
  }

  member({ id, state }: Member, now: Millis): void {
    this.presence.note(id, state, now);
  }

  /** `rootsChanged`: there may be roots, or turns of theirs, among the records. */
  recordsApplied(rootsChanged: boolean, now: Millis): AgentEffect[] {
    const renewed = rootsChanged ? this.certifier.bundleChanged(now) : [];
    const { revision } = this.options.knowledge.trust.denials;
    if (revision !== this.denialsSeen) renewed.push(...this.certifier.denialsChanged(now));
    this.denialsSeen = revision;
    // A host without services is configured as before when another root signs, and uses the old one no more.
    if (rootsChanged) this.acknowledge(now);
    return [...renewed, ...this.quorum.recordsApplied(now), ...this.ledger.recordsApplied(now)];
  }

  /** The data plane serves by this configuration. */
  configured(config: ProxyConfig, now: Millis): void {
    this.inForce = config;
    this.acknowledge(now);
  }

  /** Tells all whom the data plane believes, and what it presents. */
  private acknowledge(now: Millis): void {
    if (this.inForce === null) return;
    const { roots, identities } = this.inForce;
    const all = this.options.knowledge.trust.bundle.all();
    const believes = all.filter(({ pem }) => roots.includes(pem)).map(({ generation }) => generation);
    const presented = new Set(identities.map(({ certPem }) => certPem));
    const isCurrent = this.certifier.identities().every(({ certPem }) => presented.has(certPem));
    // What it presents still is older than what this host has.
    if (!isCurrent) return;
    const uses = this.certifier.oldestRootInUse();
    // Rounded up, so that not every renewal is told to all.
    const stepMs = Math.ceil(this.options.agent.svidTtlMs / 2);
    const lastsUntil = Math.ceil(this.certifier.lastExpiry() / stepMs) * stepMs;
    const externalUntil = Math.ceil(this.certifier.lastExternalExpiry() / stepMs) * stepMs;
    const { current, isTrustee, share } = this.epochStatus();
    // What a quorum lacks others make good; the key that one host alone had, nobody.
    const isKeyLost = current.plan.threshold === 1 && isTrustee && share === null;
    const withdrawn = isKeyLost || this.succession.damage !== null;
    this.quorum.acknowledge({ believes, uses, lastsUntil, externalUntil, withdrawn }, now);
  }

  setServices(services: readonly string[], now: Millis): AgentEffect[] {
    return this.certifier.setServices(services, now);
  }

  identities(): IdentityView[] {
    return this.certifier.identities();
  }

  get issuance(): IssuanceStats {
    return this.certifier.stats;
  }

  statuses(now: Millis): IdentityStatus[] {
    return this.certifier.statuses(now);
  }

  /** Asks others on behalf of a command, which is answered once they have. Throws `Fault`. */
  ask(request: number, question: CaQuestion, now: Millis): AgentEffect[] {
    switch (question.type) {
      case 'sign-csr':
        return this.certifier.sign(request, question, now);
      case 'read-ca-log':
        return this.ledger.ask(request, question, now);
      case 'read-recovery':
        return [{ type: 'reply', request, value: recoveryStatus(this.recoverySources(now), now) }];
      case 'reset-log':
        requireOperator(this.options.knowledge, question.operator, now);
        return this.resetLog(request, now);
      case 'recover':
        requireOperator(this.options.knowledge, question.operator, now);
        return [
          ...this.quorum.recover(recoveryOrder(question, this.options.knowledge.trust), now),
          { type: 'reply', request, value: null },
        ];
    }
  }

  /** As the first entry of another log says, which is on disk before anything is signed. */
  private resetLog(request: number, now: Millis): AgentEffect[] {
    const { entry, ops } = this.log.beginAnew(Math.floor(now), this.options.agent.signer.publicKey);
    const logged = { type: 'input', input: { type: 'epoch', event: { type: 'logged', entry } } } as const;
    return [{ type: 'persist', ops, sync: true, then: [logged, { type: 'reply', request, value: null }] }];
  }

  private recoverySources(now: Millis): RecoverySources {
    const { agent, knowledge } = this.options;
    return {
      ...knowledge,
      facts: knowledge.trustFacts,
      agreement: this.succession.agreement,
      policy: agent.trustees,
      view: this.standing.trusteeView(now),
    };
  }

  /** Trustees that told two stories about what they signed, or run twice. */
  alarms(): readonly CaLogAlarm[] {
    return this.ledger.alarms();
  }

  /** The certificate authority as this host knows it. */
  ca(now: Millis): CaStatus {
    const { agent, knowledge } = this.options;
    return caStatus({
      ...knowledge,
      now,
      self: agent.signer.publicKey,
      facts: knowledge.trustFacts,
      standing: this.standing,
      epoch: this.epochStatus(),
      reproached: this.succession.agreement.reproached(now),
      rootProblem: this.quorum.custodian.problem,
      identities: this.statuses(now),
    });
  }

  /** Of the succession of trustees, as people are shown it. */
  epochStatus(): EpochStatus {
    return this.succession.agreement.status();
  }
}

/** A log that cannot be read keeps this host from signing, and from nothing else. */
function openLog(saved: Iterable<readonly [key: string, value: Uint8Array]>): IssuanceLog {
  try {
    return new IssuanceLog(saved);
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'issuance-log-broken') throw error;
    return IssuanceLog.closed(error, saved);
  }
}
