/** The agent process on a simulated host, as the other parts of the simulator drive it and look into it. */

import type { Credentials } from '../../src/agent/ca/credentials.ts';
import type { Catalog } from '../../src/agent/catalog/catalog.ts';
import type { AgentEffect, AgentInput } from '../../src/agent/effects.ts';
import type { PolicyStore } from '../../src/agent/port.ts';
import type { HostId, Machine } from '../../src/core.ts';
import type { Member } from '../../src/gossip/port.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import type { GossipStats } from '../../src/gossip/stats.ts';
import type { SwimEffect, SwimInput } from '../../src/gossip/swim-port.ts';
import type { EngineInput } from '../../src/trust/quorum/engine.ts';
import type { EngineReport } from '../../src/trust/quorum/engine-port.ts';
import type { TrustState } from '../../src/trust/state.ts';

/** The machine, what the transport asks of it, and what the checkers look at. */
export interface SimulatedAgent extends Machine<AgentInput, AgentEffect> {
  /** Membership, which a real agent runs on a thread of its own. */
  readonly swim: Machine<SwimInput, SwimEffect>;
  /** Threshold cryptography, on another. */
  readonly engine: Machine<EngineInput, EngineReport>;
  readonly trust: TrustState;
  readonly catalog: Catalog;
  readonly policy: PolicyStore;
  /** Whether it knows the mesh, and that it belongs to it. */
  isReady(): boolean;
  isAdmitted(host: HostId): boolean;
  knowsAddressOf(host: HostId): boolean;
  member(id: HostId): Member | undefined;
  /** The highest incarnation that membership has heard of, or its own; 0 for strangers. */
  incarnationOf(id: HostId): number;
  /** Digest of the whole replica. */
  root(): string;
  records(): Iterable<Record>;
  /** All versions held of every policy slot. */
  policyVersions(): Iterable<Record>;
  /** Those of this host's own scope. */
  ownRecords(): Iterable<Record>;
  record(slot: string): Record | undefined;
  /** Whether the delta it got last is worth telling others. */
  passesOn(): boolean;
  stats(): GossipStats;
  /** Null until it is started. */
  credentials(): Credentials | null;
  /** The last root that an operator wants replaced, as far as is known here. */
  rotationAsked(): number | null;
}
