import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostId } from '../../../../src/core.ts';
import { describeEpoch } from '../../../../src/trust/epoch/descriptor.ts';
import { hostOf, range } from '../frost/parties.ts';
import { engineOf, seedOf } from './engines.ts';
import { dealing, genesis, hostsOf, planAfter, shareIn } from './plans.ts';
import { EngineTable } from './table.ts';

const labels = (count: number): string[] => range(1, count).map((i) => `h${i}`);
const three = labels(3);
const [h1, h2, h3] = hostsOf(three) as [HostId, HostId, HostId];
/** Where in an encoded envelope its type is; what types are. */
const typeAt = 32;
const [dealingType, shareType, acceptType] = [1, 2, 3];

/** Flips a bit of what matches, so that no signature fits. */
function garbled(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, i) => (i === bytes.length - 1 ? byte ^ 1 : byte));
}

test('trustees make a key that nobody has, and move it to others by a quorum', () => {
  const table = new EngineTable(labels(6));
  const first = table.deal(planAfter(genesis, 2, three), genesis);
  // One stays, two leave, three come: those who leave deal and receive nothing.
  const moved = table.deal(planAfter(first, 3, ['h5', 'h2', 'h4', 'h6'], ['h3', 'h2']), first);
  assert.equal(moved.rootKey, first.rootKey);
  assert.notDeepEqual(moved.outcome, first.outcome);
  table.beginSigning(moved, hostOf('h4').publicKey, Buffer.from('an epoch'));
  assert.equal(table.said('signed').length, 1);
});

test('a host that takes no part, a dealer without its share, and another’s share fail at once', () => {
  const table = new EngineTable(three);
  const first = table.deal(planAfter(genesis, 2, three), genesis);
  const reshare = planAfter(first, 2, three, ['h1', 'h2']);
  const failure = (label: string, session: ReturnType<typeof dealing>): string => {
    const engine = engineOf(label, 2);
    for (const [i, host] of [h1, h2].entries())
      engine.step({ type: 'hold', name: `share of h${i + 1}`, secret: table.secretOf(host, first) }, 0);
    engine.step({ type: 'hold', name: 'damaged', secret: new Uint8Array(40) }, 0);
    engine.step({ type: 'hold', name: 'genesis', secret: seedOf('root') }, 0);
    const [report, ...more] = engine.step({ type: 'begin', session }, 0);
    assert.deepEqual(more, []);
    assert.equal(engine.nextWake(), null, 'nothing of it is left');
    assert.ok(report?.type === 'failed');
    assert.deepEqual(report.blamed, []);
    return report.detail.split(':')[0]!;
  };
  assert.equal(failure('stranger', dealing(reshare, first, null)), 'not-concerned');
  assert.equal(failure('h1', dealing(reshare, first, null)), 'share-unknown');
  assert.equal(failure('h1', dealing(reshare, first, 'never held')), 'share-unknown');
  assert.equal(failure('h1', dealing(reshare, first, 'damaged')), 'share-unknown');
  assert.equal(failure('h1', dealing(reshare, first, 'genesis')), 'share-unknown');
  assert.equal(failure('h1', dealing(reshare, first, 'share of h2')), 'share-foreign');
  const other = table.deal(planAfter(genesis, 2, three), genesis);
  assert.equal(
    failure('h1', dealing(planAfter(other, 2, three, ['h1', 'h2']), other, 'share of h1')),
    'share-foreign',
  );
  // Plans that no agreement makes.
  assert.equal(failure('h1', dealing(planAfter(first, 1, ['h1']), first, null)), 'ceremony-unsound');
  assert.equal(failure('h3', dealing(planAfter(first, 2, three, ['h1']), first, null)), 'ceremony-unsound');
  assert.equal(failure('h3', dealing(planAfter(genesis, 2, three, ['h1']), genesis, null)), 'malformed');
  const lying = describeEpoch(first.plan, genesis.rootKey, first.outcome);
  assert.equal(
    failure('h3', dealing(planAfter(lying, 2, three, ['h1', 'h2']), lying, null)),
    'outcome-unsound',
  );
});

test('nobody is told that a share is there before it is kept', () => {
  const table = new EngineTable(three);
  table.keeps = false;
  const accepted = new Set<HostId>();
  table.tamper = (from, send) => {
    if (send.bytes[typeAt] === acceptType) accepted.add(from);
    return send;
  };
  const plan = planAfter(genesis, 2, three);
  table.beginAll(() => dealing(plan, genesis, null));
  assert.equal(table.said('established').length, 3);
  assert.equal(accepted.size, 0);
  table.order(h2, { type: 'kept', receipt: new Uint8Array(), session: dealing(plan, genesis, null).id });
  assert.deepEqual([...accepted], [h2]);
});

test('a share that was made stays usable if its session ends before it is kept', () => {
  const table = new EngineTable(three);
  table.keeps = false;
  const epoch = table.deal(planAfter(genesis, 2, three), genesis);
  for (const host of [h1, h2, h3])
    table.order(host, { type: 'kept', receipt: new Uint8Array(), session: epoch.session });
  // Many dealings that came to nothing later it is still there, and of those only the last are.
  const futile = range(1, 20).map(() => table.deal(planAfter(genesis, 2, three), genesis));
  const offer = (share: string): string => {
    table.reports.length = 0;
    table.order(h1, { type: 'offer', exchange: 1, requester: h2, share });
    return table.reports[0]!.report.type;
  };
  assert.equal(offer(epoch.session), 'offered');
  assert.equal(offer(futile.at(-1)!.session), 'offered');
  assert.equal(offer(futile[0]!.session), 'declined');
});

test('a forgotten share neither signs nor deals', () => {
  const table = new EngineTable(three);
  const epoch = table.deal(planAfter(genesis, 2, three), genesis);
  table.order(h1, { type: 'forget', names: [epoch.session, 'never held'] });
  const plan = planAfter(epoch, 2, three, ['h1', 'h2']);
  table.beginAll((host) => dealing(plan, epoch, shareIn(epoch, host)));
  assert.deepEqual(
    table.said('failed').map(({ host, report }) => [host, report.detail.split(':')[0]]),
    [[h1, 'share-unknown']],
  );
});

test('what nobody signed, or cannot be read, changes nothing', () => {
  const table = new EngineTable([...three, 'stranger']);
  table.tamper = (from, send) => {
    for (const bytes of [
      new Uint8Array(),
      Buffer.from('nonsense'),
      garbled(send.bytes),
      send.bytes.subarray(9),
    ])
      for (const sender of [from, hostOf('stranger').publicKey])
        table.order(send.to, { type: 'deliver', session: send.session, from: sender, bytes });
    return send;
  };
  const plan = planAfter(genesis, 2, three);
  for (const host of [h1, h2, h3])
    table.order(host, { type: 'begin', session: dealing(plan, genesis, null) });
  table.deliver();
  assert.equal(table.said('established').length, 3);
  assert.deepEqual(table.said('failed'), []);
  // Nor does what is of no session, or said twice.
  table.order(h1, { type: 'deliver', session: 'cd'.repeat(32), from: h2, bytes: new Uint8Array(9) });
  table.order(h1, { type: 'kept', receipt: new Uint8Array(), session: 'cd'.repeat(32) });
  table.order(h1, { type: 'end', session: 'cd'.repeat(32) });
  const before = table.reports.length;
  table.order(h1, { type: 'begin', session: dealing(plan, genesis, null) });
  assert.equal(table.reports.length, before, 'a session begins once');
});

test('who deals wrongly is named by everybody, whoever was cheated', () => {
  const plan = planAfter(genesis, 2, three);
  const session = dealing(plan, genesis, null);
  const other = engineOf('h2', 2).step({ type: 'begin', session }, 0);
  const fromOther = (type: number, to: HostId): Uint8Array => {
    const said = other.find(
      (report) => report.type === 'send' && report.to === to && report.bytes[typeAt] === type,
    );
    assert.ok(said?.type === 'send');
    return said.bytes;
  };
  // Another dealing for one of them, and another share than the dealing binds.
  for (const type of [dealingType, shareType]) {
    const table = new EngineTable(three);
    table.tamper = (from, send) =>
      from === h2 && send.to === h3 && send.bytes[typeAt] === type
        ? { ...send, bytes: fromOther(type, h3) }
        : send;
    table.beginAll(() => session);
    const failed = table.said('failed');
    assert.deepEqual(failed.map(({ host }) => host).sort(), [h1, h2, h3].sort());
    for (const { report } of failed) {
      assert.deepEqual(report.blamed, [h2]);
      assert.match(report.detail, /^(wrong-share|equivocation)$/);
    }
  }
});

test('whoever is not heard is named and blamed for nothing', () => {
  const table = new EngineTable(three);
  table.tamper = (from, send) => (from === h3 ? null : send);
  const plan = planAfter(genesis, 2, three);
  table.beginAll(() => dealing(plan, genesis, null)).finish();
  const detail = table.said('failed').find(({ host }) => host === h1)?.report;
  assert.deepEqual(detail?.blamed, []);
  assert.match(detail.detail, new RegExp(`not heard: dealing of ${h3.slice(0, 8)}`));
  assert.deepEqual(
    [...table.engines.values()].map((engine) => engine.nextWake()),
    [null, null, null],
  );
});

test('a session that ended is over: nothing is answered, no deadline is left', () => {
  const table = new EngineTable(three);
  const plan = planAfter(genesis, 2, three);
  const { id } = dealing(plan, genesis, null);
  const held: { readonly to: HostId; readonly from: HostId; readonly bytes: Uint8Array }[] = [];
  table.tamper = (from, send) => {
    held.push({ from, to: send.to, bytes: send.bytes });
    return null;
  };
  table.beginAll(() => dealing(plan, genesis, null));
  for (const host of [h1, h2, h3]) table.order(host, { type: 'end', session: id });
  for (const { from, to, bytes } of held) table.order(to, { type: 'deliver', session: id, from, bytes });
  assert.deepEqual(table.reports, []);
  assert.deepEqual(
    [...table.engines.values()].map((engine) => engine.nextWake()),
    [null, null, null],
  );
});

test('sessions are bounded', () => {
  const engine = engineOf('h1');
  for (let begun = 0; begun < 32; begun++) {
    const reports = engine.step(
      { type: 'begin', session: dealing(planAfter(genesis, 2, three), genesis, null) },
      0,
    );
    assert.ok(reports.every((report) => report.type === 'send'));
  }
  const [report] = engine.step(
    { type: 'begin', session: dealing(planAfter(genesis, 2, three), genesis, null) },
    0,
  );
  assert.ok(report?.type === 'failed' && report.detail.startsWith('too-many-sessions'));
});

test('what thirteen trustees say fits what the agreement carries, complaints and all', () => {
  const thirteen = labels(13);
  const table = new EngineTable(thirteen);
  const first = table.deal(planAfter(genesis, 7, thirteen), genesis);
  const second = table.deal(planAfter(first, 7, thirteen, thirteen.slice(3, 10)), first);
  table.beginSigning(second, second.plan.trustees[0]!, Buffer.from('an epoch'));
  assert.equal(table.said('signed').length, 1);
  // Everybody complains at once, of the largest thing there is to complain of, and passes on what others said.
  const plan = planAfter(genesis, 7, thirteen);
  const session = dealing(plan, genesis, null);
  const other = engineOf('h2', 2).step({ type: 'begin', session }, 0);
  const cheat = plan.trustees[1]!;
  table.tamper = (from, send) =>
    from === cheat && send.bytes[typeAt] === shareType
      ? (other.find(
          (said) => said.type === 'send' && said.to === send.to && said.bytes[typeAt] === shareType,
        ) as typeof send)
      : send;
  table.beginAll(() => session);
  for (const { report } of table.said('failed')) assert.deepEqual(report.blamed, [cheat]);
  assert.equal(table.said('failed').length, 13);
  table.assertCarried();
});
