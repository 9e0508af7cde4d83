/**
 * A process that uses a data directory as an agent does, until it is killed: the real store, the real agent
 * core and the driver between them; alone, so what the core wants to send goes nowhere. Every line it prints
 * (see lines.ts) leaves before it goes on, so that the reader knows all that was promised.
 *
 * Arguments: data directory, seed, offset of its wall clock in milliseconds.
 */
import { randomBytes } from 'node:crypto';
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { AgentCore } from '../../src/agent/core.ts';
import { belong } from '../../src/agent/io/belonging.ts';
import { monotonicClock } from '../../src/agent/io/clock.ts';
import { makeDataDirectory } from '../../src/agent/io/data-directory.ts';
import { Driver, type EffectHandler } from '../../src/agent/io/driver.ts';
import { machineFacts } from '../../src/agent/io/facts.ts';
import type { Command } from '../../src/agent/port.ts';
import { agentSettings } from '../../src/agent/settings.ts';
import { version } from '../../src/agent/version.ts';
import { assert, ed25519Verify, Fault, type HostId, messageOf, seededRandom } from '../../src/core.ts';
import { decodeRecord } from '../../src/gossip/codec.ts';
import { decodeDelta } from '../../src/gossip/dissemination.ts';
import { Store } from '../../src/gossip/io/store.ts';
import type { StoreOp } from '../../src/gossip/port.ts';
import { readStored } from '../../src/gossip/stored.ts';
import { deleteIdentity, loadIdentities, saveIdentity } from '../../src/trust/io/identities.ts';
import { loadOrCreateOperatorToken, makeLeafKey } from '../../src/trust/io/keys.ts';
import { type Line, nameOf } from './lines.ts';
import { Work } from './work.ts';

const [directory, seedText, offsetText] = process.argv.slice(2);
assert(directory !== undefined, 'usage: writer.ts DIRECTORY SEED CLOCK-OFFSET-MS');
const dataDir: string = directory;
const random = seededRandom(Number(seedText ?? 1));
const clockOffsetMs = Number(offsetText ?? 0);
const now = monotonicClock(() => Date.now() + clockOffsetMs);

function say(line: Line): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

/** A broken promise of this process, told and final. */
function stopWith(error: unknown): never {
  say({
    type: 'fault',
    code: error instanceof Fault ? error.code : 'bug',
    message: messageOf(error),
  });
  process.exit(1);
}

/** Tells of every record of this host on its way to the disk. */
function noteSigned(ops: readonly StoreOp[], self: HostId): void {
  for (const op of ops) {
    if (op.type !== 'put') continue;
    const stored = readStored(op.key, op.value);
    if (stored?.type === 'record' && stored.record.author === self)
      say({ type: 'signed', record: nameOf(stored.record) });
  }
}

async function begin(): Promise<void> {
  await makeDataDirectory(dataDir);
  const store = await Store.open(dataDir);
  const isNew = store.epoch === 1;
  const settings = agentSettings(
    [{ 'data-dir': dataDir, name: 'one', bind: '127.0.0.1', bootstrap: isNew, proxy: 'none' }],
    machineFacts(),
  );
  const { hostKey, genesis, rootSigner, sponsor } = await belongAnyway(settings);
  const self = hostKey.signer.publicKey;
  const core = new AgentCore({
    host: {
      name: 'one',
      datacenter: settings.datacenter,
      zone: settings.zone,
      address: settings.advertise,
      gossipPort: settings.gossipPort,
      inboundPort: settings.inboundPort,
      version,
    },
    signer: hostKey.signer,
    verify: ed25519Verify,
    random,
    epoch: store.epoch,
    genesis,
    rootSigner,
    domain: settings.domain,
    vipRange: settings.vipRange,
    inbound: { address: settings.bind, port: settings.inboundPort },
    outbound: settings.outbound,
    svidTtlMs: settings.svidTtlMs,
    sponsor,
  });
  const requests = new Map<number, (value: unknown) => void>();
  const joinAnswers = new Map<number, (answer: Uint8Array) => void>();
  const identityFolder = join(dataDir, 'identities');
  let ready = (): void => {};
  const isReady = new Promise<void>((done) => {
    ready = done;
  });
  let identityWork: Promise<void> = Promise.resolve();
  const changeIdentity = (change: () => Promise<void>): void => {
    identityWork = identityWork.then(change);
    identityWork.catch(stopWith);
  };

  const carryOut: EffectHandler = (effect) => {
    switch (effect.type) {
      case 'publish':
        for (const bytes of decodeDelta(effect.bytes)) {
          const record = decodeRecord(bytes);
          if (record.author === self) say({ type: 'published', record: nameOf(record) });
        }
        break;
      case 'reply':
        requests.get(effect.request)?.(effect.value);
        requests.delete(effect.request);
        break;
      case 'fail':
        stopWith(effect.fault);
        break;
      case 'join-reply':
        joinAnswers.get(effect.exchange)?.(effect.bytes);
        joinAnswers.delete(effect.exchange);
        break;
      case 'make-key':
        makeLeafKey(effect.spiffeId, effect.dnsNames).then(
          ({ csr, keyPem }) => driver.feed({ type: 'key-made', service: effect.service, csr, keyPem }),
          stopWith,
        );
        break;
      case 'keep-identity':
        changeIdentity(() => saveIdentity(identityFolder, effect.identity));
        break;
      case 'drop-identity':
        changeIdentity(() => deleteIdentity(identityFolder, effect.service));
        break;
      case 'log':
        if (effect.event === 'records-dropped')
          say({ type: 'fault', code: effect.event, message: JSON.stringify(effect.fields) });
        break;
      case 'changed':
        if (core.isSynchronised()) ready();
        break;
      default:
        // There is no network, no proxy and nobody who listens.
        break;
    }
  };
  const driver = new Driver({
    core,
    store: {
      write(ops, sync) {
        noteSigned(ops, self);
        return store.write(ops, sync);
      },
    },
    now,
    carryOut,
    stored: (fault) => {
      if (fault !== null) stopWith(fault);
    },
  });
  const entries = await Array.fromAsync(store.load(''));
  const identities = await loadIdentities(identityFolder, stopWith);
  // A start writes: what it says of itself comes after the line that says who it is.
  say({
    type: 'open',
    self,
    epoch: store.epoch,
    incarnation: core.gossip.incarnation,
    damaged: store.counters.damaged,
  });
  driver.feed({ type: 'start', saved: { entries, identities, admission: null } });
  await isReady;
  let lastRequest = 0;
  let lastExchange = 0;
  await new Work({
    self,
    epoch: store.epoch,
    random,
    now,
    say,
    operator: (await loadOrCreateOperatorToken(dataDir)).signer,
    command: (command: Command) =>
      new Promise((done) => {
        const request = ++lastRequest;
        requests.set(request, done);
        driver.feed({ type: 'command', request, command, entropy: randomBytes(64) });
      }),
    deliver: (bytes) => driver.feed({ type: 'delta', bytes }),
    askToJoin: (bytes) =>
      new Promise((done) => {
        const exchange = ++lastExchange;
        joinAnswers.set(exchange, done);
        driver.feed({ type: 'join-request', exchange, bytes });
      }),
    newSeed: () => randomBytes(32),
    registered: () => core.registry.services().map(({ id }) => id),
  }).forever();
}

/** What only joiners ask. */
const unheardOf = async (): Promise<boolean> => false;

/** Founds the mesh on the first start; a start that died while it founded left nothing, or all of it. */
async function belongAnyway(settings: Parameters<typeof belong>[0]): ReturnType<typeof belong> {
  try {
    return await belong({ ...settings, bootstrap: false }, now, unheardOf);
  } catch (error) {
    if (error instanceof Fault && error.code === 'no-mesh')
      return belong({ ...settings, bootstrap: true }, now, unheardOf);
    throw error;
  }
}

begin().catch(stopWith);
