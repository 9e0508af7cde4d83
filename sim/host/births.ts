/**
 * How simulated hosts come to be: the first founds the mesh and makes a join token, the others ask to be let
 * in by datagram as a real joiner does, and all start again on what their disks kept.
 */

import { parseVipRange } from '../../src/agent/catalog/vips.ts';
import { AgentCore } from '../../src/agent/core.ts';
import type { Sponsor } from '../../src/agent/joining/approach.ts';
import { ADMISSION } from '../../src/agent/kinds.ts';
import type { CreatedToken } from '../../src/agent/port.ts';
import { assert, type Signer, type Verify } from '../../src/core.ts';
import { Swim } from '../../src/gossip/membership/swim.ts';
import { slotOf } from '../../src/gossip/replica/record.ts';
import type { Genesis } from '../../src/trust/admission/genesis.ts';
import { type JoinToken, parseToken } from '../../src/trust/admission/token.ts';
import { genesisShare } from '../../src/trust/epoch/crypto-port.ts';
import { recipientOf } from '../../src/trust/frost/key-agreement.ts';
import { SoleKey } from '../../src/trust/issuance/sole-key.ts';
import { ThresholdEngine } from '../../src/trust/quorum/engine.ts';
import { defaultEngineTimings } from '../../src/trust/quorum/run.ts';
import { LyingEngine, survivesOneLiar } from '../attacks/liar.ts';
import type { DatagramKind, Network } from '../network/network.ts';
import type { Plan } from '../plan.ts';
import type { World } from '../world.ts';
import type { Host } from './host.ts';
import { Joiner } from './joiner.ts';
import { drawBytes, hostSeed, rememberingVerify } from './keys.ts';
import { drawGenesis, gossipPort, hostValue, inboundPort, prepareMesh } from './prepared.ts';
import type { SimulatedAgent } from './simulated-agent.ts';

/** What only the founding knows. */
export interface Founding {
  readonly operator: Signer;
  readonly token: JoinToken;
}

/** What a host keeps in files beside its store. */
interface Papers {
  readonly genesis: Genesis;
  readonly rootSigner: Signer | null;
  readonly admission: Uint8Array | null;
  readonly sponsor: Sponsor | null;
  /** How often the store was opened. */
  epoch: number;
}

const vipRange = parseVipRange('127.64.0.0/16');

export class Births {
  private readonly world: World;
  private readonly plan: Pick<Plan, 'trust' | 'liars'>;
  private readonly verify: Verify = rememberingVerify();
  private readonly papers = new Map<number, Papers>();
  private readonly joiner: Joiner;

  constructor(
    world: World,
    network: Network,
    plan: Pick<Plan, 'trust' | 'liars'>,
    hosts: () => readonly Host[],
  ) {
    this.world = world;
    this.plan = plan;
    this.joiner = new Joiner(world, network, hosts, this.verify);
  }

  /** Founds the mesh on `host`; `onFounded` once there is a token that admits `hosts` and more. */
  found(host: Host, hosts: number, onFounded: (founding: Founding) => void): void {
    const founded = drawGenesis(host, this.world.random('founding'), host.now, this.verify);
    const { genesis, operator, rootSigner, rootSeed } = founded;
    host.vault.insert(genesisShare, rootSeed);
    this.papers.set(host.number, { genesis, rootSigner, admission: null, sponsor: null, epoch: 0 });
    this.restart(host);
    const uses = Math.min(10_000, hosts * 4);
    const command = {
      type: 'create-token',
      services: [],
      roles: ['agent', 'trustee'],
      uses,
      ttlMs: 3_600_000,
    } as const;
    host.command({ ...command, operator }, (outcome) => {
      assert('value' in outcome, `no token: ${'fault' in outcome ? outcome.fault.message : ''}`);
      onFounded({ operator, token: parseToken((outcome.value as CreatedToken).token) });
    });
  }

  /** Gives `hosts` what they would have after an hour together, the first being the founder; starts none. */
  prepare(hosts: readonly Host[], servicesOf: (host: Host) => readonly string[]): Founding {
    const inhabitants = hosts.map((host) => {
      const { number, name, address, signer } = host;
      return { number, name, address, signer, services: servicesOf(host) };
    });
    const mesh = prepareMesh(inhabitants, this.world.random('founding'), this.world.now, this.verify);
    for (const host of hosts) {
      const rootSigner = host === hosts[0] ? mesh.rootSigner : null;
      if (rootSigner !== null) host.vault.insert(genesisShare, mesh.rootSeed);
      this.papers.set(host.number, { ...mesh, rootSigner, admission: null, sponsor: null, epoch: 1 });
      host.equip(
        mesh.entries,
        servicesOf(host).map((service) => mesh.identities.get(service)!),
      );
    }
    return mesh;
  }

  /** Asks to be let in, then starts the agent; `onJoined` once it runs. */
  join(host: Host, founding: Founding, onJoined: () => void): void {
    this.joiner.join(host, founding.token, ({ genesis, admission, sponsor, signature }) => {
      const { id, address } = sponsor;
      this.papers.set(host.number, {
        genesis,
        rootSigner: null,
        admission,
        sponsor: { id, address, port: gossipPort, welcome: signature },
        epoch: 0,
      });
      this.restart(host);
      onJoined();
    });
  }

  /** Starts the agent on what disk and papers hold. */
  restart(host: Host): void {
    const papers = this.papers.get(host.number);
    assert(papers !== undefined, `${host.name} has no papers`);
    papers.epoch++;
    const { admission } = papers;
    const isStored = admission === null || this.remembers(host, host);
    host.start(this.agent(host, papers), isStored ? null : admission);
  }

  /** Whether the disk of a host has the admission of another, or of itself. */
  remembers(host: Host, admitted: Host): boolean {
    const slot = slotOf({ scope: 'host', author: admitted.id, kind: ADMISSION, key: '' });
    return host.disk.entries().some(([key]) => key.endsWith(slot));
  }

  /** A datagram arrived on a join port. */
  datagram(at: Host, from: number, kind: DatagramKind, bytes: Uint8Array): void {
    this.joiner.datagram(at, from, kind, bytes);
  }

  private agent(host: Host, papers: Papers): SimulatedAgent {
    const core = new AgentCore({
      host: hostValue(host),
      signer: host.signer,
      verify: this.verify,
      random: this.world.random(`agent/${host.number}/${papers.epoch}`),
      epoch: papers.epoch,
      genesis: papers.genesis,
      rootSigner: papers.rootSigner === null ? null : new SoleKey(papers.rootSigner),
      domain: 'mesh',
      vipRange,
      inbound: { address: host.address, port: inboundPort },
      outbound: { address: '127.0.0.1', port: 15_001 },
      svidTtlMs: this.plan.trust.svidTtlMs,
      rootTtlMs: 90 * 24 * 3_600_000,
      trustees: this.plan.trust.policy,
      sponsor: papers.sponsor,
    });
    const swim = new Swim({
      self: host.id,
      signer: host.signer,
      verify: this.verify,
      random: this.world.random(`swim/${host.number}/${papers.epoch}`),
      epoch: papers.epoch,
      root: core.gossip.replica.root(),
    });
    return observed(core, swim, this.engineOf(host, papers, core));
  }

  private engineOf(host: Host, papers: Papers, core: AgentCore): SimulatedAgent['engine'] {
    const real = this.engine(host, papers, 'engine');
    const liar = this.plan.liars.find((one) => one.host === host.number);
    if (liar === undefined) return real;
    const current = () => core.credentials?.epochStatus().current;
    return new LyingEngine(real, this.engine(host, papers, 'twin'), {
      lies: liar.lies,
      random: this.world.random(`liar/${host.number}/${papers.epoch}`),
      isLying: () => {
        const epoch = current();
        return epoch !== undefined && survivesOneLiar(epoch);
      },
    });
  }

  private engine(host: Host, { genesis, epoch }: Papers, purpose: string): ThresholdEngine {
    const random = this.world.random(`${purpose}/${host.number}/${epoch}`);
    return new ThresholdEngine({
      signer: host.signer,
      verify: this.verify,
      agree: recipientOf(hostSeed(this.world, host.number)),
      entropy: (bytes) => drawBytes(random, bytes),
      trustDomain: genesis.trustDomain,
      bootId: Buffer.from(drawBytes(random, 16)).toString('hex'),
      timings: defaultEngineTimings,
    });
  }
}

/** The core as the simulator's other parts see it. */
function observed(core: AgentCore, swim: Swim, engine: SimulatedAgent['engine']): SimulatedAgent {
  const { gossip } = core;
  return {
    swim,
    engine,
    trust: core.trust,
    catalog: core.catalog,
    policy: core.policies,
    step: (input, now) => core.step(input, now),
    nextWake: () => core.nextWake(),
    isReady: () => core.isSynchronised() && core.trust.isAdmitted(core.self),
    isAdmitted: (host) => core.isAdmitted(host),
    knowsAddressOf: (host) => core.addressOf(host) !== null,
    member: (id) => gossip.member(id),
    incarnationOf: (id) =>
      id === core.self ? swim.membership.incarnation : (swim.membership.get(id)?.incarnation ?? 0),
    root: () => gossip.replica.root(),
    records: () => gossip.replica.records(),
    policyVersions: () => gossip.replica.policyVersions(),
    ownRecords: () => gossip.replica.ofAuthor(core.self),
    record: (slot) => gossip.replica.get(slot),
    passesOn: () => gossip.relayVerdict === 'accept',
    stats: () => gossip.stats(),
    credentials: () => core.credentials,
    rotationAsked: () => core.knowledge.trustFacts.rotateGeneration,
  };
}
