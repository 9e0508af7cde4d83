import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Boots } from '../../../../src/trust/quorum/boots.ts';
import { signerOf } from '../mesh.ts';

const host = signerOf('trustee').publicKey;
const idOf = (boot: string, count: number): string => `${boot.repeat(16)}-${count}`;

test('one boot after another is a trustee that restarts', () => {
  const boots = new Boots();
  let at = 0;
  for (const boot of ['aa', 'bb', 'cc'])
    for (const count of [1, 2, 3]) assert.equal(boots.observe(host, idOf(boot, count), at, ++at), null);
});

test('a boot that answers again what was asked after its successor had answered runs beside it', () => {
  const boots = new Boots();
  assert.equal(boots.observe(host, idOf('aa', 1), 0, 10), null);
  assert.equal(boots.observe(host, idOf('bb', 1), 20, 30), null);
  assert.equal(boots.observe(host, idOf('aa', 2), 25, 40), null, 'a late answer proves nothing');
  assert.match(boots.observe(host, idOf('aa', 3), 41, 50) ?? '', /two of its boots/);
});

test('the same nonces promised twice prove a copy of the memory', () => {
  const boots = new Boots();
  for (const count of [1, 2, 3]) assert.equal(boots.observe(host, idOf('aa', count), 0, count), null);
  assert.match(boots.observe(host, idOf('aa', 2), 5, 6) ?? '', /same nonces/);
});

test('trustees are told apart, and a long life of many is remembered in bounded memory', () => {
  const boots = new Boots();
  for (let i = 0; i < 200; i++)
    assert.equal(boots.observe(signerOf(`t${i}`).publicKey, idOf('aa', 1), 0, i), null);
  for (let count = 2; count < 2000; count++)
    assert.equal(boots.observe(host, idOf('bb', count), 0, count), null);
});
