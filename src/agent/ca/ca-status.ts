/** Reads the state of the mesh's certificate authority from what this host knows. Pure; changes nothing. */
import type { HostId, Millis } from '../../core.ts';
import type { BundledRoot } from '../../trust/bundle.ts';
import type { EpochStatus } from '../../trust/epoch/agreement.ts';
import type { Reproach } from '../../trust/epoch/office.ts';
import type { TrustState } from '../../trust/state.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { shortId } from '../kinds.ts';
import type { IdentityStatus } from '../port.ts';
import type { CaRoot, CaSplit, CaStatus, CaTrustee, RotationState } from './ca-port.ts';
import type { RootStanding } from './root-standing.ts';
import type { TrustFacts } from './trust-facts.ts';

export interface CaSources {
  readonly now: Millis;
  readonly self: HostId;
  readonly trust: TrustState;
  readonly catalog: Catalog;
  readonly facts: TrustFacts;
  readonly standing: RootStanding;
  readonly epoch: EpochStatus;
  readonly reproached: readonly Reproach[];
  /** Why a root waits, as this host's custodian sees it. */
  readonly rootProblem: string | null;
  readonly identities: readonly IdentityStatus[];
}

/** The name a host goes by, or was admitted under if it is gone; the beginning of its id where none is known. */
export function hostNameOf(host: HostId, { catalog, trust }: Pick<CaSources, 'catalog' | 'trust'>): string {
  return catalog.host(host)?.value.name ?? trust.entryOf(host)?.name ?? shortId(host);
}

export function caStatus(sources: CaSources): CaStatus {
  const { self, trust, facts, standing, epoch, rootProblem, identities } = sources;
  const { plan } = epoch.current;
  const trustees = plan.trustees.map(
    (id): CaTrustee => ({
      id,
      name: hostNameOf(id, sources),
      alive: standing.isHere(id),
      self: id === self,
    }),
  );
  const alive = trustees.filter((trustee) => trustee.alive).length;
  return {
    trustDomain: trust.genesis.trustDomain,
    roots: trust.bundle.all().map((root) => rootOf(root, standing, sources.now)),
    epoch: plan.epoch,
    generation: plan.generation,
    threshold: plan.threshold,
    trustees,
    alive,
    quorum: alive >= plan.threshold,
    isTrustee: epoch.isTrustee,
    holdsShare: epoch.share !== null,
    cold: plan.cold === null ? null : { ...plan.cold, drill: facts.drill },
    reproached: sources.reproached.map(({ host: id, until }) => ({
      id,
      name: hostNameOf(id, sources),
      until,
    })),
    split: splitOf(sources),
    rotation: rotationState(sources),
    waiting: epoch.isTrustee ? rootProblem : null,
    lastFailure: epoch.lastFailure,
    identities,
  };
}

function splitOf(sources: CaSources): CaSplit | null {
  const { split } = sources.epoch;
  const holders =
    split?.holders.filter((host) => sources.standing.isHere(host) && host !== sources.self) ?? [];
  if (split === null || holders.length === 0) return null;
  const { generation, isOurs } = split;
  return { generation, isOurs, holders: holders.map((host) => hostNameOf(host, sources)) };
}

function rootOf(root: BundledRoot, standing: RootStanding, now: Millis): CaRoot {
  const { generation, state, notBefore, notAfter, activeSince } = root;
  const turn = state === 'next' ? 'active' : state === 'old' ? 'retired' : null;
  const waitingFor = turn === null ? [] : standing.waitingFor(generation, turn, now);
  return { generation, state, active: state === 'active', notBefore, notAfter, activeSince, waitingFor };
}

function rotationState({ trust, facts, epoch, standing }: CaSources): RotationState {
  const held = epoch.current.plan.generation;
  // One host's own root is not replaced when asked, but when a quorum is there to make another.
  const isAsked =
    epoch.current.plan.threshold > 1 && ((facts.rotateGeneration ?? -1) >= held || standing.isExposed);
  if (isAsked) return 'asked';
  if (held > trust.bundle.active().generation) return 'introducing';
  return trust.bundle.all().some(({ state }) => state === 'old') ? 'retiring' : 'none';
}
