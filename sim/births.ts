/**
 * How simulated hosts come to be: the first founds the mesh and makes a join token, the others ask to be let
 * in by datagram as a real joiner does, and all start again on what their disks kept.
 */

import { AgentCore } from '../src/agent/core.ts';
import { decodeJoinAnswer } from '../src/agent/joining.ts';
import { ADMISSION } from '../src/agent/kinds.ts';
import type { CreatedToken } from '../src/agent/port.ts';
import { parseVipRange } from '../src/agent/vips.ts';
import { assert, type HostId, type Millis, randomInt, type Signer, type Verify } from '../src/core.ts';
import { encodeRecord } from '../src/gossip/codec.ts';
import { slotOf } from '../src/gossip/record.ts';
import { createAdmission, encodeAdmission } from '../src/trust/admission.ts';
import { createGenesis, type Genesis, parseGenesis } from '../src/trust/genesis.ts';
import { type JoinToken, parseToken } from '../src/trust/token.ts';
import type { Host, SimulatedAgent } from './host.ts';
import { drawSigner, rememberingVerify } from './keys.ts';
import type { DatagramKind, Network } from './network.ts';
import type { World } from './world.ts';

/** What only the founding knows. */
export interface Founding {
  readonly operator: Signer;
  readonly token: JoinToken;
  /** How many hosts the token admits. */
  readonly uses: number;
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

/** A joiner that waits for an answer. */
interface Asking {
  readonly founding: Founding;
  readonly onJoined: () => void;
  admission: Uint8Array;
  use: number;
  attempts: number;
}

const gossipPort = 7946;
const svidTtlMs = 12 * 3_600_000;
const rootLifetimeMs = 365 * 24 * 3_600_000;
/** A joiner sends its request again after so long, for ever: a person would start it again. */
const retransmitMs = 300;
/** The join port takes so many requests a second. */
const requestsPerSecond = 50;
const vipRange = parseVipRange('127.64.0.0/16');

export class Births {
  private readonly world: World;
  private readonly network: Network;
  private readonly hostOf: (number: number) => Host;
  private readonly verify: Verify = rememberingVerify();
  private readonly papers = new Map<number, Papers>();
  private readonly asking = new Map<number, Asking>();
  private readonly buckets = new Map<number, { tokens: number; at: Millis }>();

  constructor(world: World, network: Network, hostOf: (number: number) => Host) {
    this.world = world;
    this.network = network;
    this.hostOf = hostOf;
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
      onFounded({ operator, token: parseToken((outcome.value as CreatedToken).token), uses });
    });
  }

  /** Asks the token's first seed until it is let in, then starts the agent. */
  join(host: Host, founding: Founding, onJoined: () => void): void {
    host.enter('joining');
    this.network.processStarted(host.number);
    const use = randomInt(host.random, founding.uses);
    const admission = this.admission(host, founding.token, use);
    this.asking.set(host.number, { founding, onJoined, use, admission, attempts: 0 });
    this.ask(host);
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
    if (kind === 'join-reply') this.answered(at, bytes);
    else if (at.isRunning && this.takeToken(at)) at.joinRequest(from, bytes);
  }

  private takeToken(host: Host): boolean {
    const bucket = this.buckets.get(host.number) ?? { tokens: requestsPerSecond, at: this.world.now };
    const earned = ((this.world.now - bucket.at) / 1000) * requestsPerSecond;
    bucket.tokens = Math.min(requestsPerSecond, bucket.tokens + earned);
    bucket.at = this.world.now;
    this.buckets.set(host.number, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  private admission(host: Host, token: JoinToken, use: number): Uint8Array {
    const value = createAdmission(
      {
        genesisHash: token.genesisHash,
        name: host.name,
        host: host.id,
        grantId: token.grantId,
        use,
        admittedAt: host.now,
      },
      token.grantSigner(),
    );
    const fields = {
      scope: 'host',
      kind: ADMISSION,
      key: '',
      version: 1 + use,
      hlc: host.now * 1024,
    } as const;
    return encodeRecord({ ...fields, value: encodeAdmission(value) }, host.signer).bytes;
  }

  private ask(host: Host): void {
    const asking = this.asking.get(host.number);
    if (asking === undefined) return;
    asking.attempts++;
    const seeds = asking.founding.token.seeds;
    const seed = seeds[(asking.attempts - 1) % seeds.length]!;
    const sponsor = this.numberOf(seed.host);
    this.network.sendDatagram(host.number, sponsor, 'join-request', asking.admission);
    const attempt = asking.attempts;
    this.world.after(retransmitMs, () => {
      if (this.asking.get(host.number)?.attempts === attempt) this.ask(host);
    });
  }

  private numberOf(id: HostId): number {
    for (let number = 0; ; number++) if (this.hostOf(number).id === id) return number;
  }

  private answered(host: Host, payload: Uint8Array): void {
    const asking = this.asking.get(host.number);
    if (asking === undefined || host.state !== 'joining') return;
    const answer = decodeJoinAnswer(payload);
    const { token } = asking.founding;
    if (answer.outcome === 'refused') {
      assert(answer.retryUse !== null, `${host.name} was refused: ${answer.code}`);
      asking.use = answer.retryUse;
      asking.admission = this.admission(host, token, asking.use);
      this.ask(host);
      return;
    }
    const genesis = parseGenesis(answer.genesis, this.verify);
    assert(genesis.hash === token.genesisHash, `${host.name} was welcomed to another mesh`);
    this.asking.delete(host.number);
    const sponsor = this.hostOf(this.numberOf(answer.sponsor));
    this.papers.set(host.number, {
      genesis,
      rootSigner: null,
      admission: asking.admission,
      sponsor: { id: sponsor.id, address: sponsor.address, port: gossipPort },
      epoch: 0,
    });
    this.restart(host);
    asking.onJoined();
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
