import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HealthEffect, HealthMachine, outputIntervalMs } from '../../../../src/agent/catalog/health.ts';
import type { CheckDefinition, CheckStatus } from '../../../../src/agent/kinds.ts';
import { seededRandom } from '../../../../src/core.ts';
import { checkOf } from '../../../support/agent.ts';

function check(fields: Partial<CheckDefinition> = {}): CheckDefinition {
  const target = 'http://127.0.0.1/';
  const http = {
    type: 'http',
    target,
    method: 'GET',
    intervalMs: 10_000,
    timeoutMs: 1000,
    ttlMs: 0,
  } as const;
  return checkOf({ id: 'c', name: 'check', ...http, ...fields });
}

const ttl = (fields: Partial<CheckDefinition> = {}) =>
  check({ type: 'ttl', intervalMs: 0, timeoutMs: 0, ttlMs: 15_000, ...fields });

/** Drives a machine by a virtual clock; effects are shown as short text. */
class Bench {
  now = 1_000_000;
  readonly machine = new HealthMachine(seededRandom(1));

  set(...checks: CheckDefinition[]): string[] {
    return this.shown(
      this.machine.step(
        { type: 'checks', checks: checks.map((one) => ({ serviceId: 'web', check: one })) },
        this.now,
      ),
    );
  }
  result(status: CheckStatus, output = '', checkId = 'c'): string[] {
    return this.shown(this.machine.step({ type: 'result', checkId, status, output }, this.now));
  }
  report(status: CheckStatus, output = '', checkId = 'c'): string[] {
    return this.shown(this.machine.step({ type: 'ttl', checkId, status, output }, this.now));
  }
  /** Wakes the machine at every deadline of the next `ms`. */
  pass(ms: number): string[] {
    const until = this.now + ms;
    const seen: string[] = [];
    for (let wake = this.machine.nextWake(); wake !== null && wake <= until; wake = this.machine.nextWake()) {
      this.now = Math.max(this.now, wake);
      seen.push(...this.shown(this.machine.step({ type: 'wake' }, this.now)));
    }
    this.now = until;
    return seen;
  }
  /** Until the check runs, then answers. */
  round(status: CheckStatus, output = ''): string[] {
    assert.deepEqual(this.pass(10_000), ['run c']);
    return this.result(status, output);
  }
  private shown(effects: readonly HealthEffect[]): string[] {
    return effects.map((effect) => {
      if (effect.type === 'run') return `run ${effect.check.id}`;
      if (effect.type === 'deregister') return `deregister ${effect.serviceId}`;
      return `${effect.checkId} of ${effect.serviceId} ${effect.status}: ${effect.output}`;
    });
  }
}

test('first runs spread over the interval', () => {
  const bench = new Bench();
  bench.set(...Array.from({ length: 100 }, (_, i) => check({ id: `c${i}` })));
  const halves = [bench.pass(5000).length, bench.pass(5000).length];
  assert.equal(halves[0]! + halves[1]!, 100);
  assert.ok(halves[0]! > 30 && halves[1]! > 30, `${halves}`);
});

test('a check never runs again before its run was answered, then after its interval', () => {
  const bench = new Bench();
  bench.set(check());
  assert.deepEqual(bench.pass(60_000), ['run c']);
  assert.equal(bench.machine.nextWake(), null);
  bench.result('passing');
  assert.deepEqual(bench.pass(9_999), []);
  assert.deepEqual(bench.pass(1), ['run c']);
});

test('a status is told when it changes and not else', () => {
  const bench = new Bench();
  bench.set(check());
  assert.deepEqual(bench.round('passing', 'ok'), ['c of web passing: ok']);
  assert.deepEqual(bench.round('passing', 'ok'), []);
  assert.deepEqual(bench.round('warning', 'slow'), ['c of web warning: slow']);
  assert.deepEqual(bench.round('critical', 'gone'), ['c of web critical: gone']);
});

test('an output that goes on changing is told at a bounded rate, the latest in the end', () => {
  const bench = new Bench();
  bench.set(check());
  bench.round('passing', 'n=0');
  const told: string[] = [];
  for (let n = 1; n * 10_000 < outputIntervalMs * 2; n++) {
    told.push(...bench.pass(10_000).filter((effect) => effect !== 'run c'));
    told.push(...bench.result('passing', `n=${n}`));
  }
  assert.deepEqual(told, ['c of web passing: n=29']);
  assert.deepEqual(bench.pass(10_000), ['c of web passing: n=59', 'run c']);
});

test('the first result decides at once, whatever the thresholds', () => {
  const bench = new Bench();
  bench.set(check({ successBeforePassing: 3 }));
  assert.deepEqual(bench.round('passing'), ['c of web passing: ']);
});

test('failures count until the threshold, and a success starts the count anew', () => {
  const bench = new Bench();
  bench.set(check({ failuresBeforeCritical: 3, failuresBeforeWarning: 3, successBeforePassing: 2 }));
  bench.round('passing');
  assert.deepEqual([bench.round('critical'), bench.round('critical')], [[], []]);
  assert.deepEqual(bench.round('passing'), []);
  assert.deepEqual([bench.round('critical'), bench.round('critical')], [[], []]);
  assert.deepEqual(bench.round('critical', 'x'), ['c of web critical: x']);
  assert.deepEqual(bench.round('passing'), []);
  assert.deepEqual(bench.round('passing', 'back'), ['c of web passing: back']);
});

test('fewer failures may warn before enough of them are critical', () => {
  const bench = new Bench();
  bench.set(check({ failuresBeforeCritical: 3, failuresBeforeWarning: 2 }));
  bench.round('passing');
  assert.deepEqual(bench.round('critical'), []);
  assert.deepEqual(bench.round('critical', 'a'), ['c of web warning: a']);
  assert.deepEqual(bench.round('critical', 'b'), ['c of web critical: b']);
});

test('a TTL check expires when nobody reports, in the words of Consul, once', () => {
  const bench = new Bench();
  bench.set(ttl({ initialStatus: 'passing' }));
  assert.deepEqual(bench.pass(14_999), []);
  assert.deepEqual(bench.pass(1), ['c of web critical: TTL expired']);
  assert.deepEqual(bench.pass(60_000), []);
  assert.deepEqual(bench.report('passing', 'alive'), ['c of web passing: alive']);
  assert.deepEqual(bench.pass(15_000), [
    'c of web critical: TTL expired (last output before timeout follows): alive',
  ]);
});

test('reports keep a TTL check alive and say its status', () => {
  const bench = new Bench();
  bench.set(ttl());
  assert.deepEqual(bench.report('passing'), ['c of web passing: ']);
  for (let i = 0; i < 5; i++) {
    assert.deepEqual(bench.pass(14_000), []);
    assert.deepEqual(bench.report('passing'), []);
  }
  assert.deepEqual(bench.report('warning', 'hot'), ['c of web warning: hot']);
});

test('only TTL checks of this host are reported on', () => {
  const bench = new Bench();
  bench.set(check(), ttl({ id: 't' }));
  assert.equal(bench.machine.refusalOfReport('t'), null);
  assert.equal(bench.machine.refusalOfReport('c')?.code, 'not-a-ttl-check');
  assert.equal(bench.machine.refusalOfReport('x')?.code, 'unknown-check');
  assert.deepEqual(bench.report('passing'), []);
  assert.deepEqual(bench.report('passing', '', 'x'), []);
});

test('a service that stays critical is deregistered once after its time', () => {
  const bench = new Bench();
  bench.set(ttl({ initialStatus: 'passing', deregisterCriticalAfterMs: 60_000 }));
  bench.pass(15_000);
  assert.deepEqual(bench.pass(59_999), []);
  assert.deepEqual(bench.pass(1), ['deregister web']);
  assert.deepEqual(bench.pass(600_000), []);
});

test('a service that recovers in time stays', () => {
  const bench = new Bench();
  bench.set(ttl({ deregisterCriticalAfterMs: 20_000 }));
  bench.pass(19_000);
  bench.report('passing');
  assert.deepEqual(bench.pass(15_000), ['c of web critical: TTL expired']);
  assert.deepEqual(bench.pass(19_999), []);
  assert.deepEqual(bench.pass(1), ['deregister web']);
});

test('two checks of one service that lose patience together deregister it once', () => {
  const bench = new Bench();
  bench.set(
    ttl({ id: 'a', deregisterCriticalAfterMs: 1000 }),
    ttl({ id: 'b', deregisterCriticalAfterMs: 1000 }),
  );
  assert.deepEqual(bench.pass(1000), ['deregister web']);
});

test('a check of the host itself deregisters nothing', () => {
  const bench = new Bench();
  const hostCheck = { serviceId: '', check: ttl({ deregisterCriticalAfterMs: 1000 }) };
  bench.machine.step({ type: 'checks', checks: [hostCheck] }, bench.now);
  assert.deepEqual(bench.pass(10_000), []);
});

test('a check that is gone is forgotten, its late result too', () => {
  const bench = new Bench();
  bench.set(check());
  bench.pass(10_000);
  bench.set();
  assert.deepEqual(bench.result('passing'), []);
  assert.equal(bench.machine.nextWake(), null);
});

test('a check that comes back during its old run waits for the end of it, and discards the result', () => {
  const bench = new Bench();
  bench.set(check());
  bench.pass(10_000);
  bench.set();
  bench.set(check());
  assert.deepEqual(bench.pass(60_000), []);
  assert.deepEqual(bench.result('critical', 'of the old run'), ['run c']);
  assert.deepEqual(bench.result('passing', 'ok'), ['c of web passing: ok']);
});

test('a check that is back after its old run ended runs as a new one', () => {
  const bench = new Bench();
  bench.set(check());
  bench.pass(10_000);
  bench.set();
  bench.result('critical');
  bench.set(check());
  assert.deepEqual(bench.round('passing', 'ok'), ['c of web passing: ok']);
});

test('the same checks again change nothing', () => {
  const bench = new Bench();
  bench.set(check());
  const wake = bench.machine.nextWake();
  bench.now += 1;
  bench.set(check());
  assert.equal(bench.machine.nextWake(), wake);
});

test('a definition that changes during a run discards the result and runs anew', () => {
  const bench = new Bench();
  bench.set(check());
  bench.pass(10_000);
  bench.set(check({ target: 'http://127.0.0.2/' }));
  assert.deepEqual(bench.pass(60_000), []);
  assert.deepEqual(bench.result('passing', 'of the old target'), ['run c']);
  assert.deepEqual(bench.result('passing', 'of the new one'), ['c of web passing: of the new one']);
});

test('after a restart the status that the mesh was told is not told again', () => {
  const bench = new Bench();
  bench.machine.step(
    { type: 'checks', checks: [{ serviceId: 'web', check: check(), status: 'passing' }] },
    bench.now,
  );
  bench.pass(10_000);
  assert.deepEqual(bench.result('passing', ''), []);
});
