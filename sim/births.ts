/**
 * How simulated hosts come to be: the first founds the mesh and makes a join token, the others ask to be let
 * in by datagram as a real joiner does, and all start again on what their disks kept.
 */

import { AgentCore } from '../src/agent/core.ts';
import { ADMISSION } from '../src/agent/kinds.ts';
import type { CreatedToken } from '../src/agent/port.ts';
import { parseVipRange } from '../src/agent/vips.ts';
import { assert, type HostId, type Signer, type Verify } from '../src/core.ts';
import { slotOf } from '../src/gossip/record.ts';
import { Swim } from '../src/gossip/swim.ts';
import { founderPolicy } from '../src/trust/epoch/policy.ts';
import type { Genesis } from '../src/trust/genesis.ts';
import { type JoinToken, parseToken } from '../src/trust/token.ts';
import type { Host, SimulatedAgent } from './host.ts';
import { Joiner } from './joiner.ts';
import { rememberingVerify } from './keys.ts';
import type { DatagramKind, Network } from './network.ts';
import { drawGenesis, gossipPort, hostValue, inboundPort, prepareMesh, svidTtlMs } from './prepared.ts';
import type { World } from './world.ts';

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
  readonly sponsor: { readonly id: HostId; readonly address: string; readonly port: number } | null;
  /** How often the store was opened. */
  epoch: number;
}

const vipRange = parseVipRange('127.64.0.0/16');

export class Births {
  private readonly world: World;
  private readonly verify: Verify = rememberingVerify();
  private readonly papers = new Map<number, Papers>();
  private readonly joiner: Joiner;

  constructor(world: World, network: Network, hosts: () => readonly Host[]) {
    this.world = world;
    this.joiner = new Joiner(world, network, hosts, this.verify);
  }

  /** Founds the mesh on `host`; `onFounded` once there is a token that admits `hosts` and more. */
  found(host: Host, hosts: number, onFounded: (founding: Founding) => void): void {
    const founded = drawGenesis(host, this.world.random('founding'), host.now, this.verify);
    const { genesis, operator, rootSigner } = founded;
    this.papers.set(host.number, { genesis, rootSigner, admission: null, sponsor: null, epoch: 0 });
    this.restart(host);
    const uses = Math.min(10_000, hosts * 4);
    const command = {
      type: 'create-token',
      services: [],
      roles: ['agent'],
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
    this.joiner.join(host, founding.token, ({ genesis, admission, sponsor }) => {
      const { id, address } = sponsor;
      this.papers.set(host.number, {
        genesis,
        rootSigner: null,
        admission,
        sponsor: { id, address, port: gossipPort },
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
    const slot = slotOf({ scope: 'host', author: host.id, kind: ADMISSION, key: '' });
    const isStored = admission === null || host.disk.entries().some(([key]) => key.endsWith(slot));
    host.start(this.agent(host, papers), isStored ? null : admission);
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
      rootSigner: papers.rootSigner,
      domain: 'mesh',
      vipRange,
      inbound: { address: host.address, port: inboundPort },
      outbound: { address: '127.0.0.1', port: 15_001 },
      svidTtlMs,
      rootTtlMs: 90 * 24 * 3_600_000,
      trustees: founderPolicy,
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
    return observed(core, swim);
  }
}

/** The core as the simulator's other parts see it. */
function observed(core: AgentCore, swim: Swim): SimulatedAgent {
  const { gossip } = core;
  return {
    swim,
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
    ownRecords: () => gossip.replica.ofAuthor(core.self),
    record: (slot) => gossip.replica.get(slot),
    passesOn: () => gossip.relayVerdict === 'accept',
    stats: () => gossip.stats(),
  };
}
