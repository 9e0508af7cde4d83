/**
 * A whole agent in a mesh of which it knows every record and meets one other: replica, catalog, policy, trust and
 * compiler are real, and what each step takes is measured. No membership runs beside it: nobody is found down.
 */
import { parseVipRange } from '../../src/agent/catalog/vips.ts';
import { AgentCore } from '../../src/agent/core.ts';
import type { AgentEffect, AgentInput } from '../../src/agent/effects.ts';
import { assert, ed25519Verify, type HostId } from '../../src/core.ts';
import { founderPolicy } from '../../src/trust/epoch/policy.ts';
import { describe } from '../describe.ts';
import { HostClock } from '../host/clock.ts';
import { Disk } from '../host/disk.ts';
import { hostValue, type Inhabitant, inboundPort, type PreparedMesh, svidTtlMs } from '../host/prepared.ts';
import { Process } from '../host/process.ts';
import { Samples } from '../report/statistics.ts';
import type { World } from '../world.ts';

/** What the others and the outside are to a resident. */
export interface Surroundings {
  readonly world: World;
  readonly mesh: PreparedMesh;
  /** Real milliseconds. */
  readonly stopwatch: () => number;
  send(from: Inhabitant, to: HostId, bytes: Uint8Array): void;
  publish(from: Inhabitant, bytes: Uint8Array): void;
}

/** What steps took, real milliseconds. */
export interface Costs {
  /** Of a delta from elsewhere, with what its becoming durable brought about. */
  readonly changes: Samples;
  /** Of each configuration of the data plane: projection, compilation, comparison. */
  readonly configurations: Samples;
  /** Of frames between two agents. */
  framesMs: number;
  startMs: number;
}

const vipRange = parseVipRange('127.64.0.0/16');

export class Resident {
  readonly inhabitant: Inhabitant;
  readonly core: AgentCore;
  readonly costs: Costs = { changes: new Samples(), configurations: new Samples(), framesMs: 0, startMs: 0 };
  private readonly around: Surroundings;
  private readonly disk: Disk;
  private readonly process: Process<AgentInput, AgentEffect>;

  constructor(inhabitant: Inhabitant, around: Surroundings) {
    const { world, mesh } = around;
    const { signer, number, address } = inhabitant;
    this.inhabitant = inhabitant;
    this.around = around;
    this.disk = new Disk(world, world.random(`disk/${number}`));
    this.core = new AgentCore({
      host: hostValue(inhabitant),
      signer,
      verify: ed25519Verify,
      random: world.random(`agent/${number}`),
      epoch: 2,
      genesis: mesh.genesis,
      rootSigner: null,
      domain: 'mesh',
      vipRange,
      inbound: { address, port: inboundPort },
      outbound: { address: '127.0.0.1', port: 15_001 },
      svidTtlMs,
      rootTtlMs: 90 * 24 * 3_600_000,
      trustees: founderPolicy,
      sponsor: null,
    });
    this.process = new Process<AgentInput, AgentEffect>({
      world,
      clock: new HostClock(world.now, 0, 0),
      machine: { nextWake: () => this.core.nextWake(), step: (input, now) => this.step(input, now) },
      host: number,
      wake: { type: 'wake' },
      perform: (effect) => this.perform(effect),
      describe,
    });
  }

  get id(): HostId {
    return this.inhabitant.signer.publicKey;
  }

  /** Starts on these records, as its disk would have kept them. */
  start(entries: Iterable<readonly [string, Uint8Array]>): void {
    const { identities } = this.around.mesh;
    const own = this.inhabitant.services.map((service) => {
      const identity = identities.get(service);
      assert(identity !== undefined, `no identity for ${service}`);
      return identity;
    });
    const saved = { entries: [...entries].map(([key, value]) => ({ key, value })), identities: own };
    this.feed({ type: 'start', saved: { ...saved, secrets: [], admission: null } });
  }

  feed(input: AgentInput): void {
    this.process.feed(input);
  }

  private step(input: AgentInput, now: number): readonly AgentEffect[] {
    const { stopwatch } = this.around;
    const startedAt = stopwatch();
    const effects = this.core.step(input, now);
    const tookMs = stopwatch() - startedAt;
    if (input.type === 'start') this.costs.startMs = tookMs;
    else if (effects.some(({ type }) => type === 'configure')) this.costs.configurations.add(tookMs);
    else if (input.type === 'delta') this.costs.changes.add(tookMs);
    else if (input.type === 'frame' || input.type === 'durable') this.costs.framesMs += tookMs;
    return effects;
  }

  private perform(effect: AgentEffect): void {
    switch (effect.type) {
      case 'send':
        this.around.send(this.inhabitant, effect.to, effect.bytes);
        break;
      case 'publish':
        this.around.publish(this.inhabitant, effect.bytes);
        break;
      case 'persist':
        this.disk.write(effect.ops, effect.sync, () => {
          for (const released of effect.then) this.perform(released);
        });
        break;
      case 'input':
        this.feed(effect.input);
        break;
      case 'configure':
        this.feed({ type: 'configured', config: effect.config });
        break;
      case 'run-check':
        this.around.world.after(1, () =>
          this.feed({
            type: 'check-result',
            checkId: effect.check.id,
            status: 'passing',
            output: 'HTTP 200',
          }),
        );
        break;
      default:
        // Membership, cryptography and the files of a host are not there; commands nobody gives.
        break;
    }
  }
}
