/**
 * Certificates from real agents: how long one takes, how many a second there are, and whose CPU they cost. The
 * host that asks is none of the trustees, so that the two roles show apart. Each request has a key of its own.
 */
import type { Bird } from '../../demo/flock.ts';
import type { CaStatus } from '../../src/agent/ca/ca-port.ts';
import { makeLeafKey } from '../../src/trust/io/keys.ts';
import { dnsNamesOf, formatSpiffeId } from '../../src/trust/x509/spiffe.ts';
import { pemOf } from '../../src/trust/x509/x509.ts';
import { cpuMicroseconds } from '../processes.ts';
import { type Row, row } from '../rows.ts';
import type { Stage } from '../stage.ts';
import { median, quantile } from '../statistics.ts';
import { earlierIssuanceMs, earlierIssuancesPerSecond, earlierPrototype } from './earlier.ts';
import { TrustMesh, thresholds } from './mesh.ts';
import { PlainAuthority, plainSigning } from './plain-signing.ts';
import { Tally } from './tally.ts';

type Say = (text: string) => void;

/** A trustee lets one host have 128 certificates at once, and then two a second: all of these fit into that. */
const warmUp = 15;
const blocks = 4;
const blockLength = 20;
const burstPerHost = 18;
const burstLanes = 4;
/** What joining set in motion has ended, and idling is measured over as long. */
const settleMs = 3000;
/** The shortest that there is: nothing of them is left when the next root comes. */
const ttl = '10s';
/** The same agents and requests, before the root passes to a quorum: what sharing it costs shows beside it. */
const oneHolder = 'starling, root on one host';
const oneHolderSize = '1/1';

export async function measureIssuance(
  stage: Stage,
  sizes: readonly number[],
  rounds: number,
  say: Say,
): Promise<Row[]> {
  const tally = new Tally();
  const latencies = new Map<string, number[]>();
  const plain = await PlainAuthority.found(stage);
  for (let round = 1; round <= rounds; round++) {
    let oneHolderCpuMs = 0;
    for (const trustees of [1, ...sizes]) {
      const mesh = await TrustMesh.found(stage);
      try {
        await seat(stage, mesh, trustees);
        const bench = new IssuanceBench(stage, mesh, trustees, plain);
        const times = latencies.get(bench.size) ?? [];
        latencies.set(bench.size, times);
        const cpuMs = await bench.measure(tally, times, (text) =>
          say(`round ${round}, ${bench.size}: ${text}`),
        );
        if (trustees === 1) oneHolderCpuMs = cpuMs;
        else bench.compareCpu(tally, cpuMs, oneHolder, oneHolderCpuMs);
      } finally {
        await mesh.stop();
      }
    }
  }
  return [...latencyRows(latencies), ...tally.rows()];
}

/** The trustees first, then one host that only asks. */
async function seat(stage: Stage, mesh: TrustMesh, trustees: number): Promise<void> {
  await mesh.grow(trustees - 1);
  await mesh.untilSeated(trustees);
  await mesh.grow(1);
  await mesh.untilSeated(trustees);
  if (trustees > 1) {
    await mesh.untilActive(1);
    await mesh.untilRetired(0);
  }
  await stage.pause(settleMs);
}

/** Of all rounds together, for a 99th percentile wants many; beside those of the same agents with one holder. */
function latencyRows(latencies: ReadonlyMap<string, number[]>): Row[] {
  return [...latencies].flatMap(([size, values]) =>
    [0.5, 0.99].flatMap((share) => {
      const of = (all: readonly number[]): number => quantile(all, share);
      const metric = `issuance-p${share * 100}-${size}`;
      const common = { bench: 'trust', subject: 'starling', metric, unit: 'ms', value: of(values) };
      const single = { peer: oneHolder, peerValue: of(latencies.get(oneHolderSize)!) };
      const earlierMs = share === 0.5 ? earlierIssuanceMs[size] : undefined;
      const earlier = earlierMs === undefined ? [] : [{ peer: earlierPrototype, peerValue: earlierMs }];
      return size === oneHolderSize
        ? [row(common)]
        : [single, ...earlier].map((peer) => row({ ...common, ...peer }));
    }),
  );
}

class IssuanceBench {
  readonly size: string;
  private readonly stage: Stage;
  private readonly birds: readonly Bird[];
  private readonly asker: Bird;
  private readonly trustees: readonly Bird[];
  private readonly threshold: number;
  private readonly plain: PlainAuthority;
  private readonly requests: string[] = [];
  private failed = 0;

  constructor(stage: Stage, { birds }: TrustMesh, trustees: number, plain: PlainAuthority) {
    this.stage = stage;
    this.birds = birds;
    this.trustees = birds.slice(0, trustees);
    this.asker = birds[trustees]!;
    this.threshold = thresholds[trustees]!;
    this.size = `${this.threshold}/${trustees}`;
    this.plain = plain;
  }

  /** Resolves with the CPU milliseconds that a certificate cost all of them together, one asked for after another. */
  async measure(tally: Tally, latencies: number[], say: Say): Promise<number> {
    await this.prepare();
    for (const bird of this.birds) for (let i = 0; i < warmUp; i++) await this.timed(bird);
    const idle = await this.idleShares();
    const cpuMs: number[] = [];
    for (let block = 0; block < blocks; block++) cpuMs.push(await this.block(tally, latencies, idle));
    const rate = await this.burst(tally);
    say(
      `p50 ${quantile(latencies, 0.5).toFixed(1)} ms, p99 ${quantile(latencies, 0.99).toFixed(1)} ms of ` +
        `${latencies.length}; ${rate.toFixed(1)} a second; ${this.failed} failed`,
    );
    this.add(tally, 'issuances-failed', 'requests', this.failed);
    return median(cpuMs);
  }

  compareCpu(tally: Tally, value: number, peer: string, peerValue: number): void {
    tally.add({ metric: `issuance-cpu-all-${this.size}`, unit: 'ms CPU', value, peer, peerValue });
  }

  private async prepare(): Promise<void> {
    const { trustDomain, trustees, isTrustee } = await this.asker.get<CaStatus>('/v1/mesh/ca');
    if (isTrustee || trustees.length !== this.trustees.length)
      throw new Error('the host that is to ask has a seat among the trustees');
    const identity = { trustDomain, datacenter: 'dc1', service: 'bench' };
    const count = blocks * blockLength + (warmUp + burstPerHost) * this.birds.length;
    for (let i = 0; i < count; i++) {
      const { csr } = await makeLeafKey(formatSpiffeId(identity), dnsNamesOf(identity));
      this.requests.push(pemOf(csr, 'CERTIFICATE REQUEST'));
    }
  }

  /** Shares of a core that the asker and all trustees together use when nobody asks. */
  private async idleShares(): Promise<readonly [asker: number, trustees: number]> {
    const before = this.cpuMs();
    const begin = performance.now();
    await this.stage.pause(settleMs);
    const tookMs = performance.now() - begin;
    const after = this.cpuMs();
    return [(after[0] - before[0]) / tookMs, (after[1] - before[1]) / tookMs];
  }

  private cpuMs(): readonly [asker: number, trustees: number] {
    return [cpuOf([this.asker]), cpuOf(this.trustees)];
  }

  /** Some certificates, one after the other, and then as many plain ones as there is time for the agents to rest. */
  private async block(
    tally: Tally,
    latencies: number[],
    [idleAsker, idleTrustees]: readonly [number, number],
  ): Promise<number> {
    const csr = this.requests.at(-1)!;
    const before = this.cpuMs();
    const begin = performance.now();
    const times: number[] = [];
    for (let i = 0; i < blockLength; i++) times.push(...(await this.timed()));
    const tookMs = performance.now() - begin;
    const after = this.cpuMs();
    latencies.push(...times);
    const plain = await this.plain.sign(csr);
    const askerMs = (after[0] - before[0] - idleAsker * tookMs) / blockLength;
    const trusteesMs = (after[1] - before[1] - idleTrustees * tookMs) / blockLength;
    this.add(
      tally,
      'issuance-mean',
      'ms',
      times.reduce((sum, ms) => sum + ms, 0) / times.length,
      plain.wallMs,
    );
    this.add(tally, 'issuance-cpu-asker', 'ms CPU', askerMs);
    this.add(tally, 'issuance-cpu-signing-trustee', 'ms CPU', trusteesMs / this.threshold);
    this.compareCpu(tally, askerMs + trusteesMs, plainSigning, plain.cpuMs);
    return askerMs + trusteesMs;
  }

  private add(tally: Tally, metric: string, unit: string, value: number, peerValue?: number): void {
    tally.add({
      ...{ metric: `${metric}-${this.size}`, unit, value },
      ...(peerValue === undefined ? {} : { peer: plainSigning, peerValue }),
    });
  }

  /** All hosts ask at once, several requests each: the most that all of them on one machine can do. */
  private async burst(tally: Tally): Promise<number> {
    const begin = performance.now();
    const before = cpuOf(this.birds);
    const done = await Promise.all(this.birds.map((bird) => this.askOften(bird)));
    const tookMs = performance.now() - begin;
    const issued = done.reduce((sum, count) => sum + count, 0);
    const perSecond = (issued / tookMs) * 1000;
    const earlier = earlierIssuancesPerSecond[this.size];
    tally.add({
      ...{ metric: `issuances-all-hosts-${this.size}`, unit: '/s', value: perSecond },
      ...(earlier === undefined ? {} : { peer: earlierPrototype, peerValue: earlier }),
    });
    this.add(tally, 'issuance-cpu-all-hosts-busy', 'ms CPU', (cpuOf(this.birds) - before) / issued);
    return perSecond;
  }

  private async askOften(bird: Bird): Promise<number> {
    let left = burstPerHost;
    const times: number[] = [];
    const lane = async (): Promise<void> => {
      while (left-- > 0) times.push(...(await this.timed(bird)));
    };
    await Promise.all(Array.from({ length: burstLanes }, lane));
    return times.length;
  }

  /** How long a host took to answer with a certificate; nothing when it refused. */
  private async timed(bird: Bird = this.asker): Promise<number[]> {
    const body = this.requests.pop()!;
    const begin = performance.now();
    const response = await fetch(`${bird.httpUrl}/v1/mesh/ca/sign?ttl=${ttl}`, { method: 'POST', body });
    const answer = await response.text();
    if (response.ok && answer.includes('BEGIN CERTIFICATE')) return [performance.now() - begin];
    this.failed++;
    if (this.failed > blockLength)
      throw new Error(`${bird.name} signs nothing: ${response.status} ${answer}`);
    return [];
  }
}

function cpuOf(birds: readonly Bird[]): number {
  return cpuMicroseconds(birds.map(({ program }) => program!.pid)) / 1000;
}
