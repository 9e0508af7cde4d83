/** What is counted of policy: how much there is, and how far it has come. */
import type { AgentCore } from '../core.ts';
import { supportedKinds } from '../entries/kinds.ts';
import { policyReceiptOf } from '../policy/receipts.ts';
import { type Add, single } from './samples.ts';

export function policyMetrics(
  add: Add,
  { core, now }: { readonly core: AgentCore; readonly now: () => number },
): void {
  const { receipts } = core.configurator;
  add('gauge', 'starling_config_entries', 'Config entries in force by kind.', ['kind'], () =>
    supportedKinds.map((kind) => ({ labels: { kind }, value: core.policies.list(kind).length })),
  );
  add(
    'gauge',
    'starling_policy_hosts',
    'Live hosts by whether their proxies serve by the policy that this host holds, as they tell.',
    ['applied'],
    () => {
      const receiptOf = (host: string) => policyReceiptOf(host, (slot) => core.gossip.replica.get(slot));
      const { hosts, pending } = receipts.convergence(null, core.self, receiptOf, now());
      const live = hosts.filter(({ state }) => state !== 'down').length;
      return [
        { labels: { applied: 'true' }, value: live - pending.length },
        { labels: { applied: 'false' }, value: pending.length },
      ];
    },
  );
  add(
    'gauge',
    'starling_policy_lag_seconds',
    'From the signature of the last write of policy to this host’s proxy serving by it; by the clocks of two hosts.',
    [],
    () => (receipts.lagMs === null ? [] : single(receipts.lagMs / 1000)),
  );
}
