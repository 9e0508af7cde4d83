/**
 * What a writer process does all the time: several lanes, each of which asks for one change after another and
 * tells before and after. All content is text that is used once.
 */

import { parseDefinition } from '../../src/agent/consul/definition.ts';
import { parseConfigEntry } from '../../src/agent/entries/entry.ts';
import { decodeJoinAnswer } from '../../src/agent/joining/joining.ts';
import { ADMISSION, SERVICE } from '../../src/agent/kinds.ts';
import type { Command, CreatedToken } from '../../src/agent/port.ts';
import {
  assert,
  ed25519Signer,
  encodeJson,
  type HostId,
  type Millis,
  type Random,
  randomInt,
  type Signer,
} from '../../src/core.ts';
import { encodeRecord } from '../../src/gossip/replica/codec.ts';
import { encodeDelta } from '../../src/gossip/spread/dissemination.ts';
import { createAdmission, encodeAdmission } from '../../src/trust/admission/admission.ts';
import { type JoinToken, parseToken } from '../../src/trust/admission/token.ts';
import type { Content, Line, Subject } from './lines.ts';

export interface WorkOptions {
  readonly self: HostId;
  readonly epoch: number;
  readonly random: Random;
  readonly now: () => Millis;
  readonly say: (line: Line) => void;
  readonly operator: Signer;
  /** Resolves when the command was answered. */
  readonly command: (command: Command) => Promise<unknown>;
  /** A delta arrived from the mesh. */
  readonly deliver: (bytes: Uint8Array) => void;
  /** A stranger's request to be admitted; resolves with the answer it gets. */
  readonly askToJoin: (bytes: Uint8Array) => Promise<Uint8Array>;
  /** 32 bytes that nobody has seen. */
  readonly newSeed: () => Uint8Array;
  /** Ids of the services registered now. */
  readonly registered: () => readonly string[];
}

const serviceLanes = 5;
const entryLanes = 2;
const statuses = ['passing', 'warning', 'critical'] as const;
const joinersPerRun = 2;
/** Text that fills a log quickly now and then, so that LevelDB begins a new one while writes go on. */
const filler = 'x'.repeat(500);

export class Work {
  private readonly options: WorkOptions;
  private count = 0;

  constructor(options: WorkOptions) {
    this.options = options;
  }

  /** Ends only by a fault, which is the caller's to tell. */
  async forever(): Promise<void> {
    const lanes = [
      ...Array.from({ length: serviceLanes }, (_, lane) => this.services(`lane-${lane}`)),
      ...Array.from({ length: entryLanes }, (_, lane) => this.entries(`lane-${lane}`)),
      this.checks(),
      this.joiners(),
    ];
    await Promise.all(lanes);
  }

  /** Text that no other attempt of any run has. */
  private fresh(): string {
    return `${this.options.epoch}.${++this.count}`;
  }

  private host(id: HostId): string {
    return id.slice(0, 8);
  }

  /** Says what is asked for, asks, and says that it was answered. */
  private async ask(subject: Subject, content: Content, command: Command): Promise<unknown> {
    this.options.say({ type: 'attempt', subject, content });
    const value = await this.options.command(command);
    this.options.say({ type: 'acknowledged', subject, content });
    return value;
  }

  private async services(id: string): Promise<void> {
    const subject = `service/${this.host(this.options.self)}/${id}`;
    for (;;) {
      const isThere = this.options.registered().includes(id);
      if (isThere && this.options.random.next() < 0.2) {
        await this.ask(subject, null, { type: 'deregister-service', id });
        continue;
      }
      const content = this.fresh();
      await this.ask(subject, content, {
        type: 'register-service',
        definition: this.definition(id, content),
      });
    }
  }

  /** One in eight is large; those of the first lane get a certificate. */
  private definition(id: string, content: string) {
    const { random } = this.options;
    const pairs = random.next() < 0.125 ? 20 : 0;
    const bulk = Object.fromEntries(Array.from({ length: pairs }, (_, i) => [`bulk-${i}`, filler]));
    return parseDefinition(
      {
        ID: id,
        Name: id === 'lane-0' ? `name-${randomInt(random, 3)}` : id,
        Port: 8080,
        Mesh: id === 'lane-0',
        Meta: { content, ...bulk },
      },
      { type: 'api' },
    );
  }

  private async entries(name: string): Promise<void> {
    for (;;) {
      const content = this.fresh();
      const { kind, entry } = parseConfigEntry({
        Kind: 'service-intentions',
        Name: name,
        Sources: [{ Name: 'caller', Action: 'allow', Description: content }],
      });
      const { operator } = this.options;
      const subject = `config-entry/${kind}/${name}`;
      await this.ask(subject, content, { type: 'put-config-entry', kind, name, entry, operator });
      if (this.options.random.next() < 0.2)
        await this.ask(subject, null, { type: 'delete-config-entry', kind, name, operator });
    }
  }

  private async checks(): Promise<void> {
    const definition = parseDefinition(
      { Name: 'checked', Port: 8081, Mesh: false, Check: { CheckID: 'alive', Name: 'alive', TTL: '1h' } },
      { type: 'api' },
    );
    const subject = `check/${this.host(this.options.self)}/alive`;
    if (!this.options.registered().includes('checked')) {
      this.options.say({ type: 'attempt', subject, content: 'critical' });
      await this.options.command({ type: 'register-service', definition });
    }
    for (let round = 0; ; round++) {
      const status = statuses[round % statuses.length]!;
      await this.ask(subject, status, { type: 'report-ttl', checkId: 'alive', status, output: '' });
    }
  }

  /**
   * Makes a token, lets hosts in with it, and then hears from them as from the mesh. What the mesh says is
   * promised to nobody, but an admission is: the joiner's welcome rests on it, even where the mesh told first.
   */
  private async joiners(): Promise<void> {
    const token = await this.token();
    const joiners: Signer[] = [];
    for (let count = 0; count < joinersPerRun; count++) {
      const joiner = ed25519Signer(this.options.newSeed());
      const admission = this.admission(token, joiner);
      const subject = `${ADMISSION}/${this.host(joiner.publicKey)}/`;
      this.options.say({ type: 'attempt', subject, content: 'made' });
      if (count % 2 === 1) this.options.deliver(encodeDelta([admission]));
      const answer = decodeJoinAnswer(await this.options.askToJoin(admission));
      assert(answer.outcome === 'welcome', `the joiner was not welcome: ${JSON.stringify(answer)}`);
      this.options.say({ type: 'acknowledged', subject, content: 'made' });
      joiners.push(joiner);
    }
    for (let version = 2; ; version++) {
      for (const joiner of joiners) this.hearFrom(joiner, version);
      const content = this.fresh();
      const subject = `service/${this.host(this.options.self)}/pace`;
      await this.ask(subject, content, {
        type: 'register-service',
        definition: this.definition('pace', content),
      });
    }
  }

  private async token(): Promise<JoinToken> {
    const { operator, now } = this.options;
    const created = (await this.options.command({
      type: 'create-token',
      services: [],
      roles: [],
      uses: joinersPerRun,
      ttlMs: 3_600_000,
      operator,
    })) as CreatedToken;
    const subject = `grant/${created.id}`;
    this.options.say({ type: 'attempt', subject, content: 'made' });
    this.options.say({ type: 'acknowledged', subject, content: 'made' });
    assert(created.expiresAt > now(), 'the token has expired');
    return parseToken(created.token);
  }

  private admission(token: JoinToken, joiner: Signer): Uint8Array {
    const admittedAt = this.options.now();
    const request = {
      genesisHash: token.genesisHash,
      name: `joiner-${this.host(joiner.publicKey)}`,
      host: joiner.publicKey,
      grantId: token.grantId,
      admittedAt,
    };
    const value = encodeAdmission(createAdmission(request, token.grantSigner()));
    const hlc = admittedAt * 1024;
    return encodeRecord({ scope: 'host', kind: ADMISSION, key: '', version: 1, hlc, value }, joiner).bytes;
  }

  /** A peer's service, as it arrives from the mesh: written, but not synced for its sake. */
  private hearFrom(joiner: Signer, version: number): void {
    const subject = `${SERVICE}/${this.host(joiner.publicKey)}/theirs`;
    const content = this.fresh();
    const value = encodeJson(this.definition('theirs', content));
    const hlc = this.options.now() * 1024;
    const record = encodeRecord({ scope: 'host', kind: SERVICE, key: 'theirs', version, hlc, value }, joiner);
    this.options.say({ type: 'attempt', subject, content });
    this.options.deliver(encodeDelta([record.bytes]));
  }
}
