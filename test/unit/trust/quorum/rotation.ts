/** A mesh whose root is to be replaced, whatever some of its trustees do. */
import assert from 'node:assert/strict';
import {
  highAssurancePolicy,
  standardPolicy,
  type TrusteePolicy,
} from '../../../../src/trust/epoch/policy.ts';
import { EpochNet } from '../epoch/net.ts';
import { realCryptography } from './engines.ts';

/** Hosts, trustees among them, and the policy that makes it so many. */
export const quorums = [
  [3, 3, standardPolicy],
  [6, 5, standardPolicy],
  [5, 5, highAssurancePolicy],
  [9, 7, highAssurancePolicy],
] as const;

/** Where in an encoded envelope of a ceremony its type is. */
export const typeAt = 32;

const hurried = { replaceAfterMs: 10 * 60_000, settleMs: 5000 };
/** Of virtual time. Three dealings that come to nothing and two that the silent one leads, each after a round. */
export const patienceMs = 180_000;
/** One dealing in which what is lacking is claimed, and a round that comes to nothing before it. */
export const hurriedMs = 30_000;

/** A mesh whose quorum has formed, and whose root is to be replaced from now on. */
export function rotating(
  hosts: number,
  trustees: number,
  policy: TrusteePolicy,
  cryptography = realCryptography(),
): EpochNet {
  const net = new EpochNet({ seed: 1, hosts, policy: { ...policy, ...hurried }, cryptography });
  const isFormed = (): boolean => net.latest.plan.trustees.length === trustees && net.isSettled();
  net.run(5 * 60_000, isFormed);
  assert.ok(isFormed());
  // Whoever has only just come is not yet expected to answer.
  net.run(30_000);
  net.rotateGeneration = net.latest.plan.generation;
  return net;
}

export function replacedWithin(net: EpochNet, withinMs: number): void {
  const { generation } = net.latest.plan;
  const since = net.now;
  net.run(withinMs, () => net.latest.plan.generation > generation);
  assert.ok(net.latest.plan.generation > generation, `no new key within ${withinMs} ms: ${net.alarms}`);
  assert.ok(net.now - since <= withinMs);
  assert.deepEqual(net.forks, []);
}
