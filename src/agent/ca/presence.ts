/** Since when each host has been here, or away: what decides who may hold a share of the root. Pure. */
import type { HostId, Millis } from '../../core.ts';
import type { MemberState } from '../../gossip/port.ts';

interface Spell {
  readonly here: boolean;
  readonly since: Millis;
}

/** As large as membership itself, which bounds it. */
export class Presence {
  private readonly spells = new Map<HostId, Spell>();
  private readonly startedAt: Millis;

  constructor(startedAt: Millis) {
    this.startedAt = startedAt;
  }

  /** A host that is suspected is still here: only its death or its leave ends the spell. */
  note(host: HostId, state: MemberState, now: Millis): void {
    const here = state === 'alive' || state === 'suspect';
    if (this.spells.get(host)?.here !== here) this.spells.set(host, { here, since: now });
  }

  /** Null while it is away. */
  aliveSince(host: HostId): Millis | null {
    const spell = this.spells.get(host);
    return spell?.here ? spell.since : null;
  }

  /** Null while it is here; since this agent's start for who was never heard of. */
  absentSince(host: HostId): Millis | null {
    const spell = this.spells.get(host);
    return spell?.here ? null : (spell?.since ?? this.startedAt);
  }
}
