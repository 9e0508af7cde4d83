/**
 * What a run does, as data: hosts, the network's quality, and a timeline of faults and actions. A scenario
 * draws a plan from its random stream; the plan itself holds no chance, so it can be printed and replayed.
 */
import type { Random } from '../src/core.ts';
import type { TrusteePolicy } from '../src/trust/epoch/policy.ts';
import type { LinkQuality } from './network/links.ts';

/** What somebody does with an admitted host's key and connections; see attacker.ts. */
export const attacks = [
  'forged-deaths',
  'inflated-incarnations',
  'replayed-frames',
  'replayed-records',
  'future-records',
  'equivocation',
  'garbage',
  'forged-records',
  'forged-joins',
  'withhold',
  'sweeping-deaths',
] as const;

/**
 * What it does against the room and the time that others have for it, see siege.ts. A list of its own: what seeds draw
 * from `attacks` stays as it was.
 */
export const sieges = ['many-keys', 'bombs', 'flood', 'stonewall'] as const;
export type Siege = (typeof sieges)[number];
export type Attack = (typeof attacks)[number] | Siege;

/** What a trustee does to those who rely on it; see liar.ts. */
export const lies = [
  'wrong-dealings',
  'two-dealings',
  'wrong-shares',
  'withheld-answers',
  'forgotten-word',
] as const;
/**
 * What it leaves undone, all the time: nothing of it can be proven to anybody. It deals nothing, or nothing to half of
 * them; keeps shares from half of them, also in public; takes in none and says that it lacks them; has no part in
 * agreements, or never says to a leader that it has its share.
 */
export const silences = [
  'silent-dealing',
  'partial-dealing',
  'withheld-shares',
  'deaf-dealing',
  'silent-agreement',
  'withheld-acks',
] as const;
export type Lie = (typeof lies)[number] | (typeof silences)[number];

export type Step =
  /** The process is killed at once (SIGKILL); the host answers for it with refusals. */
  | { readonly do: 'kill'; readonly host: number }
  /**
   * Power off: process and host vanish without a word. What was not synced is lost (`synced`), or but for a
   * first part of it (`part`).
   */
  | { readonly do: 'power-off'; readonly host: number; readonly disk: 'synced' | 'part' }
  /** Starts the agent again on what its disk kept, also one that had left. No effect on one that runs. */
  | { readonly do: 'restart'; readonly host: number }
  /** A host that was planned to come late (`joinAtMs` null) asks to be let in. */
  | { readonly do: 'join'; readonly host: number }
  /** Stops the whole process, as SIGSTOP or a starved machine does. */
  | { readonly do: 'freeze'; readonly host: number }
  /** Keeps the main thread busy; membership has a thread of its own. */
  | { readonly do: 'stall'; readonly host: number }
  /** Ends either. */
  | { readonly do: 'thaw'; readonly host: number }
  /** Says goodbye and stops. */
  | { readonly do: 'leave'; readonly host: number }
  /** Each list is a side; hosts in no list form one more. */
  | { readonly do: 'partition'; readonly sides: readonly (readonly number[])[] }
  | { readonly do: 'cut-one-way'; readonly from: number; readonly to: number }
  /** Ends the partition and all one-way cuts. */
  | { readonly do: 'mend' }
  | { readonly do: 'quality'; readonly quality: Partial<LinkQuality> }
  /** Somebody sets the host's time of day, either way. */
  | { readonly do: 'clock-step'; readonly host: number; readonly byMs: number }
  | { readonly do: 'clock-drift'; readonly host: number; readonly driftPpm: number }
  /** Somebody uses the host's key and connections against the others, for some seconds. */
  | { readonly do: 'attack'; readonly host: number; readonly how: Attack }
  | { readonly do: 'slow-disk'; readonly host: number; readonly syncLatencyMs: number }
  | { readonly do: 'register'; readonly host: number; readonly service: string }
  | { readonly do: 'deregister'; readonly host: number; readonly service: string }
  /** The application behind a service's check starts or stops answering. */
  | { readonly do: 'application'; readonly host: number; readonly service: string; readonly up: boolean }
  /** An operator writes an intention through this host. */
  | {
      readonly do: 'intention';
      readonly host: number;
      readonly source: string;
      readonly destination: string;
      readonly action: 'allow' | 'deny';
    }
  /** An operator asks for another root through this host. */
  | { readonly do: 'rotate'; readonly host: number }
  /** The first operator has shares of the root put away through this host, for a key that is on none. */
  | { readonly do: 'put-away'; readonly host: number }
  /** More trustees than the quorum survives are gone with their disks; from then on an operator tries to recover. */
  | { readonly do: 'lose-quorum' };

export interface TimedStep {
  /** Milliseconds after the mesh has formed. */
  readonly atMs: number;
  readonly step: Step;
}

/** Who shares the root, and how long the certificates that come from it last. */
export interface TrustTerms {
  readonly policy: TrusteePolicy;
  readonly svidTtlMs: number;
}

export interface Plan {
  readonly hosts: number;
  readonly trust: TrustTerms;
  /** All that are not to come late belong to the mesh already, their services registered: nobody joins. */
  readonly prepared: boolean;
  /** Host `i > 0` starts to join (prepared: starts) `joinAtMs[i]` after the founder is up; null: when a step says so. */
  readonly joinAtMs: readonly (number | null)[];
  /** Offset (milliseconds) and drift (parts per million) of each host's clock. */
  readonly clocks: readonly { readonly offsetMs: number; readonly driftPpm: number }[];
  /** Hosts that lie as trustees, from when they hold a seat that one liar may have until they are killed. */
  readonly liars: readonly { readonly host: number; readonly lies: readonly Lie[] }[];
  /** A quorum that is lost is brought back: in the end there is one. */
  readonly recovers: boolean;
  /** Services each host registers before the timeline begins. */
  readonly services: readonly (readonly string[])[];
  /** From the start of the timeline until every fault is mended. */
  readonly activeMs: number;
  readonly timeline: readonly TimedStep[];
  readonly quality: Partial<LinkQuality>;
  /** Whether publish-subscribe heals its own gaps; off, anti-entropy must. */
  readonly lazyPublish: boolean;
  /**
   * From the acknowledgement of a write until every host has it but those that somebody else has in hand; null where
   * faults leave no such bound.
   */
  readonly deliverMs: number | null;
}

/** The promises a run is held to. All in virtual milliseconds. */
export interface Bounds {
  /** From the founder's start (or the last host's, if later) until every host knows every other as alive. */
  readonly formMs: number;
  /** From a death until every live host that could know holds it down. */
  readonly detectMs: number;
  /** How long a host may hold a healthy, reachable one down. */
  readonly falseDownMs: number;
  /** From the mending of all faults until all replicas and compiled endpoints agree. */
  readonly convergeMs: number;
  /** From the mending of all faults until everybody has the certificates it should have, from one root. */
  readonly certifyMs: number;
  /** How long a service may be without a valid certificate while a quorum is within its host's reach. */
  readonly lackMs: number;
}

export interface Scenario {
  readonly name: string;
  readonly summary: string;
  readonly bounds: Bounds;
  plan(hosts: number, random: Random): Plan;
}
