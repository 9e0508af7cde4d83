/** What agents cost when nothing happens. */
import { cpuMicroseconds, residentBytes } from '../processes.ts';
import type { Cluster } from './cluster.ts';

const idleMs = 20_000;

/** All of one agent, on average. */
export interface Idle {
  readonly bytesPerSecond: number;
  readonly packetsPerSecond: number;
  /** Of one core, 0 to 1. */
  readonly cpuShare: number;
  readonly residentBytes: number;
}

export async function measureIdle(cluster: Cluster): Promise<Idle> {
  const { network, size, pids } = cluster;
  const beginMs = performance.now();
  const sentBefore = network.sent();
  const cpuBefore = cpuMicroseconds(pids);
  await cluster.pause(idleMs);
  const cpu = cpuMicroseconds(pids) - cpuBefore;
  const sent = network.sent();
  const seconds = (performance.now() - beginMs) / 1000;
  return {
    bytesPerSecond: (sent.bytes - sentBefore.bytes) / seconds / size,
    packetsPerSecond: (sent.packets - sentBefore.packets) / seconds / size,
    cpuShare: cpu / 1e6 / seconds / size,
    residentBytes: pids.reduce((sum, pid) => sum + residentBytes(pid), 0) / size,
  };
}
