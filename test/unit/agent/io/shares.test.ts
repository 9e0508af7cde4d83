/** This host's shares of root keys between the disk and the memory of the agent. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { Shares } from '../../../../src/agent/io/shares.ts';
import { Fault } from '../../../../src/core.ts';
import { loadOrCreateHostKey } from '../../../../src/trust/io/keys.ts';
import { SecretStore } from '../../../../src/trust/io/secret-store.ts';

const name = 'aa'.repeat(32);

async function opened(t: TestContext) {
  const dataDir = mkdtempSync(join(tmpdir(), 'starling-shares-'));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const hostKey = await loadOrCreateHostKey(dataDir);
  const log = pino({ level: 'silent' });
  const shares = await Shares.open({ dataDir, hostKey, trustDomain: 'test.mesh', log });
  t.after(() => shares.stop());
  const stored = async (): Promise<string[]> => {
    const { secrets } = await (await SecretStore.open(dataDir, hostKey.signer.publicKey)).load();
    return secrets.map(({ bytes }) => Buffer.from(bytes).toString());
  };
  return { shares, stored };
}

test('a share is wiped from memory once it is on disk, and a write that has it again leaves it there', async (t) => {
  const { shares, stored } = await opened(t);
  const secret = { name, bytes: Uint8Array.from(Buffer.from('a share of the root')) };
  // Both are under way before the first is durable, as the agreement's writes may be.
  await Promise.all([shares.keep([secret]), shares.keep([secret])]);
  assert.ok(secret.bytes.every((byte) => byte === 0));
  await shares.keep([secret]);
  assert.deepEqual(await stored(), ['a share of the root']);
});

test('a share that could not be written is not wiped, so that it can be written later', async (t) => {
  const { shares, stored } = await opened(t);
  const bytes = Uint8Array.from(Buffer.from('a share of the root'));
  const unnamed = { name: 'no name of a share', bytes };
  await assert.rejects(
    shares.keep([unnamed]),
    (error: unknown) => error instanceof Fault && error.code === 'secret-name',
  );
  await shares.keep([{ name, bytes }]);
  assert.deepEqual(await stored(), ['a share of the root']);
});
