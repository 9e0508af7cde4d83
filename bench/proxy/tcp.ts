/** How many bytes a second go through, and what a gigabyte costs. */
import { join } from 'node:path';
import { cpuMicroseconds } from '../processes.ts';
import type { Stage } from '../stage.ts';
import { assertInPlace, assertWorked, CannotCarry, type Subject } from './subject.ts';

const connections = 8;
const sink = join(import.meta.dirname, 'tcp-sink.ts');

export interface TcpResult {
  readonly megabytesPerSecond: number;
  /** Seconds of CPU in all proxies together for 1e9 bytes. */
  readonly cpuSecondsPerGigabyte: number;
}

/** Bytes from the application to the client, after one second to warm up that is not measured. */
export async function pourThrough(
  stage: Stage,
  subject: Subject,
  endpoint: string,
  seconds: number,
): Promise<TcpResult> {
  const pour = async (duration: number): Promise<number> => {
    const args = [sink, endpoint, String(connections), String(duration)];
    const { bytes, broken } = JSON.parse(await stage.run(process.execPath, args)) as {
      bytes: number;
      broken: number;
    };
    if (broken > 0 || bytes === 0) throw new CannotCarry(`${broken} of ${connections} connections broke`);
    return bytes;
  };
  await pour(1);
  const before = subject.proxies.map(({ pid }) => cpuMicroseconds([pid]));
  const bytes = await pour(seconds);
  const cost = subject.proxies.map(({ pid }, index) => cpuMicroseconds([pid]) - before[index]!);
  assertInPlace(subject, endpoint);
  assertWorked(subject.name, cost);
  const total = cost.reduce((sum, each) => sum + each, 0);
  return { megabytesPerSecond: bytes / seconds / 1e6, cpuSecondsPerGigabyte: total / 1e6 / (bytes / 1e9) };
}
