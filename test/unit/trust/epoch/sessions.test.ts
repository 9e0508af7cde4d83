import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CryptoSession } from '../../../../src/trust/epoch/crypto-port.ts';
import { genesisEpoch } from '../../../../src/trust/epoch/descriptor.ts';
import { decodeMessage, type EpochMessage } from '../../../../src/trust/epoch/message.ts';
import type { EpochEffect } from '../../../../src/trust/epoch/port.ts';
import { Sessions } from '../../../../src/trust/epoch/sessions.ts';
import { mesh } from './net.ts';
import { standInSigner } from './stand-in.ts';

type Relay = Extract<EpochMessage, { type: 'relay' }>;

const here = standInSigner('here').publicKey;
const peers = Array.from({ length: 13 }, (_, i) => standInSigner(`peer-${i}`).publicKey);
const { plan } = genesisEpoch(mesh, here, standInSigner('root').publicKey, 1_800_000_000_000);
const id = 'aa'.repeat(32);
const session: CryptoSession = { kind: 'generate', id, plan };
const resendMs = 1000;

function relay(sequence: number, of = id, epoch = 1): Relay {
  return { type: 'relay', epoch, session: of, sequence, bytes: Uint8Array.of(sequence) };
}

/** What the cryptography is given, as `<peer>/<content>`. */
function deliveries(effects: readonly EpochEffect[]): string[] {
  return effects.flatMap((effect) => {
    if (effect.type !== 'crypto' || effect.order.type !== 'deliver') return [];
    return [`${peers.indexOf(effect.order.from)}/${effect.order.bytes[0]}`];
  });
}

function begin(sessions: Sessions): EpochEffect[] {
  return sessions.begin(session, peers, 1, 60_000, 0);
}

test('what comes before its session begins is delivered when it does, and confirmed then', () => {
  const sessions = new Sessions(resendMs);
  assert.deepEqual(sessions.onRelay(peers[0]!, relay(0)), []);
  assert.deepEqual(sessions.onRelay(peers[1]!, relay(0)), []);
  assert.deepEqual(sessions.onRelay(peers[0]!, relay(1)), []);
  assert.deepEqual(sessions.onRelay(peers[0]!, relay(1)), [], 'a repetition');
  const effects = begin(sessions);
  assert.equal(effects[0]!.type === 'crypto' && effects[0].order.type, 'begin');
  assert.deepEqual(deliveries(effects), ['0/0', '1/0', '0/1']);
  const confirmed = effects.flatMap((effect) => {
    if (effect.type !== 'send') return [];
    const message = decodeMessage(effect.bytes);
    return message.type === 'relayed' ? [`${peers.indexOf(effect.to)}: ${message.count}`] : [];
  });
  assert.deepEqual(confirmed, ['0: 1', '1: 1', '0: 2']);
  assert.deepEqual(deliveries(sessions.onRelay(peers[0]!, relay(0))), [], 'it arrived already');
});

test('of what comes early little is kept, the latest, and of no host enough to push out the others', () => {
  const sessions = new Sessions(resendMs);
  sessions.onRelay(peers[1]!, relay(0));
  for (let i = 0; i < 1000; i++) sessions.onRelay(peers[0]!, relay(i % 64, `${i}`.padStart(64, '0')));
  for (let i = 0; i < 6; i++) sessions.onRelay(peers[0]!, relay(i));
  // The two oldest of six had to go, so those after them are out of order, and all of it is sent again.
  assert.deepEqual(deliveries(begin(sessions)), ['1/0']);
  const full = new Sessions(resendMs);
  for (let i = 0; i < 4; i++) for (const peer of peers) full.onRelay(peer, relay(i));
  assert.equal(deliveries(begin(full)).length <= 48, true);
});

test('what came early for an epoch that is past by then is let go', () => {
  const sessions = new Sessions(resendMs);
  const later = 'bb'.repeat(32);
  sessions.onRelay(peers[0]!, relay(0, later, 1));
  sessions.onRelay(peers[1]!, relay(0, later, 2));
  sessions.begin({ ...session, id: 'cc'.repeat(32) }, peers, 2, 60_000, 0);
  assert.deepEqual(deliveries(sessions.begin({ ...session, id: later }, peers, 2, 60_000, 0)), ['1/0']);
});
