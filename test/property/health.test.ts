import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type HealthEffect, HealthMachine } from '../../src/agent/catalog/health.ts';
import type { CheckDefinition, CheckStatus } from '../../src/agent/kinds.ts';
import { seededRandom } from '../../src/core.ts';

const statuses: readonly CheckStatus[] = ['passing', 'warning', 'critical'];

function definition(id: string, variant: number): CheckDefinition {
  const isTtl = id.startsWith('t');
  return {
    id,
    name: id,
    notes: '',
    type: isTtl ? 'ttl' : 'tcp',
    target: isTtl ? '' : `127.0.0.1:${1 + variant}`,
    method: '',
    header: {},
    body: '',
    tlsSkipVerify: false,
    args: [],
    intervalMs: isTtl ? 0 : 1000,
    timeoutMs: isTtl ? 0 : 1000,
    ttlMs: isTtl ? 3000 : 0,
    successBeforePassing: variant,
    failuresBeforeCritical: isTtl ? 0 : variant,
    failuresBeforeWarning: isTtl ? 0 : variant,
    deregisterCriticalAfterMs: variant === 2 ? 5000 : 0,
    initialStatus: 'critical',
  };
}

const ids = ['a', 'b', 't'];
const action = fc.oneof(
  fc.record({ type: fc.constant('pass' as const), ms: fc.nat(4000) }),
  fc.record({ type: fc.constant('checks' as const), wanted: fc.subarray(ids), variant: fc.nat(2) }),
  fc.record({
    type: fc.constant('answer' as const),
    status: fc.constantFrom(...statuses),
    output: fc.constantFrom('', 'x', 'y'),
  }),
  fc.record({
    type: fc.constant('ttl' as const),
    status: fc.constantFrom(...statuses),
    output: fc.constantFrom('', 'x', 'y'),
  }),
);

test('runs never overlap, nothing is told twice, and no deadline is slept through', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), fc.nat(), (actions, seed) => {
      const machine = new HealthMachine(seededRandom(seed));
      const running: string[] = [];
      const told = new Map<string, string>();
      let wanted: readonly string[] = [];
      let variant = 0;
      let now = 0;
      const take = (effects: readonly HealthEffect[]): void => {
        for (const effect of effects) {
          if (effect.type === 'run') {
            assert.ok(!running.includes(effect.check.id), `${effect.check.id} runs twice`);
            running.push(effect.check.id);
          } else if (effect.type === 'status') {
            assert.ok(wanted.includes(effect.checkId), `${effect.checkId} is not a check any more`);
            const told1 = `${effect.status} ${effect.output}`;
            assert.notEqual(told.get(effect.checkId), told1);
            told.set(effect.checkId, told1);
          } else assert.equal(effect.serviceId, 'web');
        }
        const wake = machine.nextWake();
        assert.ok(wake === null || wake > now, 'a deadline that has come is carried out at once');
      };
      for (const one of actions) {
        if (one.type === 'pass') {
          const until = now + one.ms;
          for (let wake = machine.nextWake(); wake !== null && wake <= until; wake = machine.nextWake()) {
            now = wake;
            take(machine.step({ type: 'wake' }, now));
          }
          now = until;
        } else if (one.type === 'checks') {
          // A new definition starts from its initial status: what is told of it may be what was told before.
          for (const id of wanted) if (!one.wanted.includes(id) || one.variant !== variant) told.delete(id);
          variant = one.variant;
          wanted = one.wanted;
          const checks = wanted.map((id) => ({ serviceId: 'web', check: definition(id, one.variant) }));
          take(machine.step({ type: 'checks', checks }, now));
        } else if (one.type === 'answer') {
          const checkId = running.shift();
          if (checkId !== undefined)
            take(machine.step({ type: 'result', checkId, status: one.status, output: one.output }, now));
        } else take(machine.step({ type: 'ttl', checkId: 't', status: one.status, output: one.output }, now));
      }
      for (const id of wanted)
        assert.ok(
          running.includes(id) || machine.nextWake() !== null || id === 't',
          `${id} neither runs nor is going to`,
        );
    }),
    {
      numRuns: 500,
      examples: [
        [
          [
            { type: 'checks', wanted: ['t'], variant: 0 },
            { type: 'ttl', status: 'passing', output: 'x' },
            { type: 'checks', wanted: ['t'], variant: 1 },
            { type: 'ttl', status: 'passing', output: 'x' },
          ],
          0,
        ],
      ],
    },
  );
});
