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
import type { AgentEffect } from '../../src/agent/effects.ts';
import { type Belonging, belong } from '../../src/agent/io/belonging.ts';
import { monotonicClock } from '../../src/agent/io/clock.ts';
import { makeDataDirectory } from '../../src/agent/io/data-directory.ts';
import { Driver, type EffectHandler } from '../../src/agent/io/driver.ts';
import { machineFacts } from '../../src/agent/io/facts.ts';
import type { Command } from '../../src/agent/port.ts';
import { type AgentSettings, agentSettings } from '../../src/agent/settings.ts';
import { version } from '../../src/agent/version.ts';
import { assert, ed25519Verify, Fault, messageOf, seededRandom } from '../../src/core.ts';
import { Store } from '../../src/gossip/io/store.ts';
import type { StoreOp } from '../../src/gossip/port.ts';
import { decodeRecord } from '../../src/gossip/replica/codec.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import { readStored } from '../../src/gossip/replica/stored.ts';
import { decodeDelta } from '../../src/gossip/spread/dissemination.ts';
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
const identityFolder = join(dataDir, 'identities');

function say(line: Line): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

/** A broken promise of this process, told and final. */
function stopWith(error: unknown): never {
  say({ type: 'fault', code: error instanceof Fault ? error.code : 'bug', message: messageOf(error) });
  process.exit(1);
}

/** The core on the real store, and whoever waits for its answers. */
class Writer {
  readonly core: AgentCore;
  private readonly store: Store;
  private readonly driver: Driver;
  private readonly requests = new Map<number, (value: unknown) => void>();
  private readonly joiners = new Map<number, (answer: Uint8Array) => void>();
  private lastRequest = 0;
  private identityWork: Promise<void> = Promise.resolve();
  private synchronised: () => void = () => {};

  constructor(store: Store, core: AgentCore) {
    this.store = store;
    this.core = core;
    this.driver = new Driver({
      core,
      now,
      store: {
        write: (ops, sync) => {
          this.noteSigned(ops);
          return store.write(ops, sync);
        },
      },
      secrets: { keep: () => Promise.reject(new Error('a host alone keeps no shares')) },
      carryOut: this.carryOut,
      stored: (fault) => {
        if (fault !== null) stopWith(fault);
      },
    });
  }

  /** Resolves once the core may be asked for changes. */
  async start(): Promise<void> {
    const entries = await Array.fromAsync(this.store.load(''));
    const identities = await loadIdentities(identityFolder, stopWith);
    const isSynchronised = new Promise<void>((done) => {
      this.synchronised = done;
    });
    const { epoch, counters } = this.store;
    const { incarnation } = this.core.gossip;
    // A start writes: what it says of itself comes after the line that says who it is.
    say({ type: 'open', self: this.core.self, epoch, incarnation, damaged: counters.damaged });
    this.driver.feed({ type: 'start', saved: { entries, identities, secrets: [], admission: null } });
    await isSynchronised;
  }

  command(command: Command): Promise<unknown> {
    return new Promise((done) => {
      const request = ++this.lastRequest;
      this.requests.set(request, done);
      this.driver.feed({ type: 'command', request, command, entropy: randomBytes(64) });
    });
  }

  askToJoin(bytes: Uint8Array): Promise<Uint8Array> {
    return new Promise((done) => {
      const exchange = ++this.lastRequest;
      this.joiners.set(exchange, done);
      this.driver.feed({ type: 'join-request', exchange, bytes });
    });
  }

  deliver(bytes: Uint8Array): void {
    this.driver.feed({ type: 'delta', bytes });
  }

  private readonly carryOut: EffectHandler = (effect) => {
    switch (effect.type) {
      case 'publish':
        for (const bytes of decodeDelta(effect.bytes)) this.noteOwn('published', decodeRecord(bytes));
        break;
      case 'reply':
        this.requests.get(effect.request)?.(effect.value);
        this.requests.delete(effect.request);
        break;
      case 'fail':
        stopWith(effect.fault);
        break;
      case 'join-reply':
        this.joiners.get(effect.exchange)?.(effect.bytes);
        this.joiners.delete(effect.exchange);
        break;
      case 'make-key':
        this.makeKey(effect);
        break;
      case 'keep-identity':
        this.changeIdentity(() => saveIdentity(identityFolder, effect.identity));
        break;
      case 'drop-identity':
        this.changeIdentity(() => deleteIdentity(identityFolder, effect.service));
        break;
      case 'changed':
      case 'happened':
        if (this.core.isSynchronised()) this.synchronised();
        break;
      case 'log':
        if (effect.event === 'records-dropped')
          stopWith(new Fault(effect.event, JSON.stringify(effect.fields)));
        break;
      default:
        // There is no network, no proxy and nobody who listens.
        break;
    }
  };

  private makeKey({ service, spiffeId, dnsNames }: Extract<AgentEffect, { type: 'make-key' }>): void {
    makeLeafKey(spiffeId, dnsNames).then(
      ({ csr, keyPem }) => this.driver.feed({ type: 'key-made', service, csr, keyPem }),
      stopWith,
    );
  }

  private changeIdentity(change: () => Promise<void>): void {
    this.identityWork = this.identityWork.then(change);
    this.identityWork.catch(stopWith);
  }

  /** Tells of every record of this host on its way to the disk. */
  private noteSigned(ops: readonly StoreOp[]): void {
    for (const op of ops) {
      const stored = op.type === 'put' ? readStored(op.key, op.value) : null;
      if (stored?.type === 'record') this.noteOwn('signed', stored.record);
    }
  }

  private noteOwn(type: 'signed' | 'published', record: Record): void {
    if (record.author === this.core.self) say({ type, record: nameOf(record) });
  }
}

function createCore(settings: AgentSettings, belonging: Belonging, epoch: number): AgentCore {
  const { name, datacenter, zone, advertise, gossipPort, inboundPort } = settings;
  return new AgentCore({
    host: { name, datacenter, zone, address: advertise, gossipPort, inboundPort, version },
    signer: belonging.hostKey.signer,
    verify: ed25519Verify,
    random,
    epoch,
    genesis: belonging.genesis,
    rootSigner: belonging.rootSigner,
    domain: settings.domain,
    vipRange: settings.vipRange,
    inbound: { address: settings.bind, port: inboundPort },
    outbound: settings.outbound,
    svidTtlMs: settings.svidTtlMs,
    rootTtlMs: settings.rootTtlMs,
    trustees: settings.trustees,
    sponsor: belonging.sponsor,
  });
}

/** What only joiners ask. */
const unheardOf = async (): Promise<boolean> => false;

/** Founds the mesh on the first start; a start that died while it founded left nothing, or all of it. */
async function belongAnyway(settings: AgentSettings): Promise<Belonging> {
  try {
    return await belong(settings, now, unheardOf);
  } catch (error) {
    if (error instanceof Fault && error.code === 'no-mesh')
      return belong({ ...settings, bootstrap: true }, now, unheardOf);
    throw error;
  }
}

async function run(): Promise<void> {
  await makeDataDirectory(dataDir);
  const store = await Store.open(dataDir);
  const settings = agentSettings(
    [{ 'data-dir': dataDir, name: 'one', bind: '127.0.0.1', proxy: 'none' }],
    machineFacts(),
  );
  const writer = new Writer(store, createCore(settings, await belongAnyway(settings), store.epoch));
  await writer.start();
  await new Work({
    self: writer.core.self,
    epoch: store.epoch,
    random,
    now,
    say,
    operator: (await loadOrCreateOperatorToken(dataDir)).signer,
    command: (command) => writer.command(command),
    deliver: (bytes) => writer.deliver(bytes),
    askToJoin: (bytes) => writer.askToJoin(bytes),
    newSeed: () => randomBytes(32),
    registered: () => writer.core.registry.services().map(({ id }) => id),
  }).forever();
}

run().catch(stopWith);
