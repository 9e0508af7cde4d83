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
import { createGenesis, type Genesis } from '../src/trust/genesis.ts';
import { type JoinToken, parseToken } from '../src/trust/token.ts';
import type { Host, SimulatedAgent } from './host.ts';
import { Joiner } from './joiner.ts';
import { drawSigner, rememberingVerify } from './keys.ts';
import type { DatagramKind, Network } from './network.ts';
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

const gossipPort = 7946;
const svidTtlMs = 12 * 3_600_000;
const rootLifetimeMs = 365 * 24 * 3_600_000;
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
    const random = this.world.random('founding');
    const operator = drawSigner(random);
    const root = drawSigner(random);
    const genesis = createGenesis(
      {
        trustDomain: 'mesh.test',
        founderName: host.name,
        defaultIntention: 'deny',
        createdAt: host.now,
        rootLifetimeMs,
      },
      { operator, founder: host.signer, root },
      this.verify,
    );
    this.papers.set(host.number, { genesis, rootSigner: root, admission: null, sponsor: null, epoch: 0 });
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
    const stored = host.disk.entries().some(([key]) => key.endsWith(slot));
    host.start(this.agent(host, papers), stored ? null : admission);
  }

  /** A datagram arrived on a join port. */
  datagram(at: Host, from: number, kind: DatagramKind, bytes: Uint8Array): void {
    this.joiner.datagram(at, from, kind, bytes);
  }

  private agent(host: Host, papers: Papers): SimulatedAgent {
    const inboundPort = 21_000;
    const core = new AgentCore({
      host: {
        name: host.name,
        datacenter: 'dc1',
        zone: `zone-${host.number % 3}`,
        address: host.address,
        gossipPort,
        inboundPort,
        version: 'simulated',
      },
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
      sponsor: papers.sponsor,
    });
    return observed(core);
  }
}

/** The core as the simulator's other parts see it. */
function observed(core: AgentCore): SimulatedAgent {
  const { gossip } = core;
  return {
    catalog: core.catalog,
    policy: core.policies,
    step: (input, now) => core.step(input, now),
    nextWake: () => core.nextWake(),
    isReady: () => core.isSynchronised() && core.trust.isAdmitted(core.self),
    isAdmitted: (host) => core.isAdmitted(host),
    knowsAddressOf: (host) => core.addressOf(host) !== null,
    member: (id) => gossip.member(id),
    root: () => gossip.replica.root(),
    records: () => gossip.replica.records(),
    ownRecords: () => gossip.replica.ofAuthor(core.self),
    record: (slot) => gossip.replica.get(slot),
  };
}
