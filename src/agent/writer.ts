/** How the agent changes records: every one signed, all of one change in one durable batch, answered after. */
import { encodeJson, Fault, type Millis } from '../core.ts';
import type { Gossip } from '../gossip/gossip.ts';
import { encodeRecord } from '../gossip/replica/codec.ts';
import type { Record } from '../gossip/replica/record.ts';
import type { OwnWrite, Registry } from './catalog/registry.ts';
import type { Outcome, PolicyWrite } from './commands.ts';
import type { AgentEffect } from './effects.ts';

export class Writer {
  private readonly gossip: Gossip;
  private readonly registry: Registry;
  private readonly emit: (effect: AgentEffect) => void;

  constructor(gossip: Gossip, registry: Registry, emit: (effect: AgentEffect) => void) {
    this.gossip = gossip;
    this.registry = registry;
    this.emit = emit;
  }

  /** Writes, then releases `then`. All or nothing: throws `Fault` with nothing written. */
  write(outcome: Partial<Pick<Outcome, 'own' | 'policy'>>, then: readonly AgentEffect[], now: Millis): void {
    const own = (outcome.own ?? []).map((write) => {
      const value = write.value === null ? null : encodeJson(write.value);
      return { write, ...this.gossip.put(write.kind, write.key, value, now) };
    });
    const effects = [
      ...own.flatMap(({ effects }) => effects),
      ...(outcome.policy ?? []).flatMap(
        (write) => this.gossip.putSigned(this.signPolicy(write, now), now).effects,
      ),
    ];
    for (const { write, record } of own) this.registry.wrote(write, record.version);
    const writes = effects.filter((effect) => effect.type === 'persist');
    const records = writes.flatMap(({ then }) =>
      then.flatMap((one) => (one.type === 'commit' ? one.records : [])),
    );
    this.emit({
      type: 'persist',
      ops: writes.flatMap(({ ops }) => ops),
      sync: true,
      then: [
        ...(records.length > 0 ? [{ type: 'input', input: { type: 'durable', records } } as const] : []),
        ...then,
      ],
    });
  }

  /** As `tryWrite`, of this host's own. */
  writeOwn(own: readonly OwnWrite[], now: Millis): void {
    if (own.length > 0) this.tryWrite({ own }, now);
  }

  /** A write that nobody waits for: what cannot be written is logged, since there is nobody to tell. */
  tryWrite(outcome: Partial<Pick<Outcome, 'own' | 'policy'>>, now: Millis): void {
    try {
      this.write(outcome, [], now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const fields = { code: error.code, detail: error.message };
      this.emit({ type: 'log', level: 'error', event: 'write-refused', fields });
    }
  }

  private signPolicy({ kind, key, value, operator }: PolicyWrite, now: Millis): Record {
    const { version, hlc } = this.gossip.nextPolicyFields(operator.publicKey, now);
    const bytes = value === null ? null : encodeJson(value);
    return encodeRecord({ scope: 'policy', kind, key, version, hlc, value: bytes }, operator);
  }
}
