/**
 * What one agent has to hold and to do in a mesh of so many hosts, all of whose records are real and signed: one
 * agent starts on them, follows changes, and hands them all to another that has none of them.
 */
import { CHECK, type CheckValue } from '../../src/agent/kinds.ts';
import {
  assert,
  ed25519Signer,
  ed25519Verify,
  encodeJson,
  type HostId,
  type Random,
  randomInt,
} from '../../src/core.ts';
import { encodeRecord } from '../../src/gossip/replica/codec.ts';
import { encodeDelta } from '../../src/gossip/spread/dissemination.ts';
import { Violation } from '../checks/violation.ts';
import { drawBytes } from '../host/keys.ts';
import { type Inhabitant, type PreparedMesh, prepareMesh } from '../host/prepared.ts';
import { firstInstanceOf, instancesOn, instancesPerHost } from '../scale/population.ts';
import { World } from '../world.ts';
import { type Costs, Resident } from './resident.ts';

export interface CensusTools {
  /** Real milliseconds. */
  readonly stopwatch: () => number;
  /** Bytes in use by this process, after garbage is collected. */
  readonly bytesInUse: () => number;
}

export interface CensusReport {
  readonly hosts: number;
  readonly instances: number;
  readonly records: number;
  /** Of all records, as they are on the wire and on disk. */
  readonly recordBytes: number;
  /** Memory of one agent for them, the records themselves included. */
  readonly agentBytes: number;
  readonly costs: Costs;
  /** From the agent to another that had nothing. */
  readonly snapshot: {
    readonly bytes: number;
    readonly frames: number;
    /** Real CPU of each. */
    readonly giverMs: number;
    readonly takerMs: number;
  };
}

/** How many hosts run an instance of one service. */
const instancesPerService = 60;
const changes = 200;
const changeEveryMs = 1_000;
const pathMs = 0.5;
/** The taker has everything within. */
const snapshotMaxMs = 600_000;
const pollMs = 100;

export function takeCensus(hosts: number, seed: number, tools: CensusTools): CensusReport {
  return new Census(hosts, seed, tools).run();
}

class Census {
  private readonly world: World;
  private readonly random: Random;
  private readonly tools: CensusTools;
  private readonly inhabitants: readonly Inhabitant[];
  private readonly mesh: PreparedMesh;
  private readonly residents = new Map<HostId, Resident>();
  private readonly traffic = { bytes: 0, frames: 0 };

  constructor(hosts: number, seed: number, tools: CensusTools) {
    this.world = new World(seed);
    this.random = this.world.random('census');
    this.tools = tools;
    this.inhabitants = this.populate(hosts);
    this.mesh = prepareMesh(this.inhabitants, this.world.random('founding'), this.world.now, ed25519Verify);
  }

  private populate(hosts: number): Inhabitant[] {
    const names = Math.max(
      Math.ceil(instancesPerHost) + 1,
      Math.round(instancesOn(hosts) / instancesPerService),
    );
    return Array.from({ length: hosts }, (_, number) => {
      const services: string[] = [];
      for (let i = firstInstanceOf(number, hosts); i < firstInstanceOf(number + 1, hosts); i++)
        services.push(`service-${i % names}`);
      const address = `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`;
      return {
        number,
        name: `host-${number}`,
        address,
        signer: ed25519Signer(drawBytes(this.random, 32)),
        services,
      };
    });
  }

  run(): CensusReport {
    const { inhabitants, mesh, tools } = this;
    let recordBytes = 0;
    for (const bytes of mesh.entries.values()) recordBytes += bytes.length;
    const before = tools.bytesInUse();
    const agent = this.settle(inhabitants[1]!);
    agent.start(mesh.entries);
    this.world.runUntil(this.world.now + changeEveryMs);
    const agentBytes = tools.bytesInUse() - before + recordBytes;
    this.change(agent);
    const { configurations, changes: followed } = agent.costs;
    assert(configurations.count > 0 && followed.count > 0, 'changes were followed');
    return {
      hosts: inhabitants.length,
      instances: inhabitants.reduce((sum, { services }) => sum + services.length, 0),
      records: mesh.entries.size,
      recordBytes,
      agentBytes,
      costs: agent.costs,
      snapshot: this.handOver(agent, inhabitants[2]!),
    };
  }

  private settle(inhabitant: Inhabitant): Resident {
    const { world, mesh, residents } = this;
    const later = (to: Resident | undefined, deliver: (to: Resident) => void): void => {
      if (to !== undefined) world.after(pathMs, () => deliver(to));
    };
    const resident = new Resident(inhabitant, {
      world,
      mesh,
      stopwatch: this.tools.stopwatch,
      send: (from, to, bytes) => {
        this.traffic.bytes += bytes.length;
        this.traffic.frames++;
        later(residents.get(to), (at) => at.feed({ type: 'frame', from: from.signer.publicKey, bytes }));
      },
      publish: (from, bytes) => {
        for (const other of residents.values())
          if (other.inhabitant !== from) later(other, (at) => at.feed({ type: 'delta', bytes }));
      },
    });
    residents.set(resident.id, resident);
    return resident;
  }

  /** Checks elsewhere fail and recover, one a second: each is a delta of one record. */
  private change(agent: Resident): void {
    for (let i = 0; i < changes; i++) {
      const { signer, services } = this.inhabitants[randomInt(this.random, this.inhabitants.length)]!;
      const service = services[randomInt(this.random, services.length)]!;
      const key = `service:${service}`;
      const held = [...agent.core.gossip.replica.ofAuthor(signer.publicKey)].find(
        (record) => record.kind === CHECK && record.key === key,
      );
      assert(held?.value != null, `${key} has no check`);
      const value: CheckValue = JSON.parse(Buffer.from(held.value).toString());
      const changed = { ...value, status: value.status === 'passing' ? 'critical' : 'passing' };
      const { scope, kind } = held;
      const version = held.version + 2 ** 20;
      const fields = { scope, kind, key, version, hlc: this.world.now * 1024, value: encodeJson(changed) };
      agent.feed({ type: 'delta', bytes: encodeDelta([encodeRecord(fields, signer).bytes]) });
      this.world.runUntil(this.world.now + changeEveryMs);
    }
  }

  /** All that `agent` has to one that has nothing but its own place in the mesh, and opens the session. */
  private handOver(agent: Resident, newcomer: Inhabitant): CensusReport['snapshot'] {
    const own = newcomer.signer.publicKey;
    const taker = this.settle(newcomer);
    const known = [...this.mesh.entries].filter(([key]) => key.includes(own));
    taker.start(known);
    const startedAt = this.world.now;
    const before = agent.costs.framesMs;
    taker.feed({ type: 'connected', peer: agent.id });
    while (taker.core.gossip.replica.root() !== agent.core.gossip.replica.root()) {
      if (this.world.now - startedAt > snapshotMaxMs)
        throw new Violation('snapshot', this.world, `not within ${snapshotMaxMs} ms`);
      this.world.runUntil(this.world.now + pollMs);
    }
    return {
      ...this.traffic,
      giverMs: agent.costs.framesMs - before,
      takerMs: taker.costs.framesMs,
    };
  }
}
