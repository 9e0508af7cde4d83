import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseVipRange, VipPool } from '../../../../src/agent/catalog/vips.ts';
import { Fault } from '../../../../src/core.ts';

test('a range is an IPv4 network of loopback addresses, without its first and last', () => {
  assert.deepEqual(parseVipRange('127.64.0.0/16'), { first: 0x7f400001, size: 65_534 });
  assert.deepEqual(parseVipRange('127.64.3.9/16'), parseVipRange('127.64.0.0/16'));
  assert.deepEqual(parseVipRange('127.1.0.252/30'), { first: 0x7f0100fd, size: 2 });
});

test('a range that holds localhost, lies elsewhere or is none is refused', () => {
  const wrong = [
    '10.0.0.0/8',
    '127.0.0.0/8',
    '127.0.0.0/24',
    '127.0.0.128/25',
    '127.0.0.0/9',
    '127.64.0.0/31',
  ];
  for (const cidr of [...wrong, '127.64.0.0/33', '127.64.0.256/24', '127.64.0.0', '::1/64', '', 'x'])
    assert.throws(
      () => parseVipRange(cidr),
      (error: unknown) =>
        error instanceof Fault && error.code === 'bad-vip-range' && error.field === 'vip-range',
      cidr,
    );
});

test('a service has the same address on every host, and keeps it', () => {
  const [one, two] = [0, 1].map(() => new VipPool(parseVipRange('127.64.0.0/16')));
  two!.addressOf('other');
  assert.equal(one!.addressOf('api'), two!.addressOf('api'));
  assert.equal(one!.addressOf('api'), one!.addressOf('api'));
  assert.match(one!.addressOf('api') ?? '', /^127\.64\./);
});

test('colliding names get different addresses until the range is exhausted, and room given back is reused', () => {
  const pool = new VipPool(parseVipRange('127.64.0.0/29'));
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const addresses = names.map((name) => pool.addressOf(name));
  assert.equal(new Set(addresses).size, 6);
  for (const address of addresses) assert.match(address ?? '', /^127\.64\.0\.[1-6]$/);
  assert.equal(pool.addressOf('g'), null);
  pool.retain(new Set(['a', 'c']));
  assert.equal(pool.addressOf('a'), addresses[0]);
  assert.equal(pool.addressOf('c'), addresses[2]);
  const reused = pool.addressOf('g');
  assert.ok(reused !== null && reused !== addresses[0] && reused !== addresses[2]);
});

/** A store of what the pool says is to be kept, and a pool that begins with what is in it. */
function restarted(kept: Map<string, Uint8Array>, pool: VipPool, range = '127.64.0.0/28'): VipPool {
  for (const op of pool.changes()) {
    if (op.type === 'put') kept.set(op.key, op.value);
    else kept.delete(op.key);
  }
  const next = new VipPool(parseVipRange(range));
  next.restore([...kept].map(([key, value]) => ({ key, value })));
  return next;
}

test('after a restart every service has the address that it had, whoever asks first', () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'];
  const first = new VipPool(parseVipRange('127.64.0.0/28'));
  const before = names.map((name) => first.addressOf(name));
  const kept = new Map<string, Uint8Array>();
  const second = restarted(kept, first);
  assert.ok(kept.size > 0 && kept.size < names.length, 'only what collided is kept');
  assert.deepEqual(
    names
      .toReversed()
      .map((name) => second.addressOf(name))
      .reverse(),
    before,
  );
  assert.deepEqual(second.changes(), [], 'nothing new is to be kept');
  second.retain(new Set());
  restarted(kept, second);
  assert.equal(kept.size, 0);
});

test('a kept address that is damaged, taken or of another range is forgotten', () => {
  for (const text of ['127.65.0.1', '127.64.0.0', '127.64.0.15', '127.64.0.01', '', 'x', '127.64.0.1.1']) {
    const kept = new Map([['vip/api', Buffer.from(text)]]);
    const pool = new VipPool(parseVipRange('127.64.0.0/28'));
    pool.restore([...kept].map(([key, value]) => ({ key, value })));
    assert.deepEqual(pool.changes(), [{ type: 'delete', key: 'vip/api' }], text);
    assert.match(pool.addressOf('api')!, /^127\.64\.0\.\d+$/);
  }
});
