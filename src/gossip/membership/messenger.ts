/**
 * What this agent says to others: it puts every frame together, with what it says of itself, what it believes of
 * the receiver, and the rumors that go along.
 */
import type { HostId, Millis } from '../../core.ts';
import type { Places } from '../coordinates/places.ts';
import { type Belief, type Digest, maxRumors, type Rumor, type SwimFrame } from '../frames.ts';
import type { SwimParameters } from '../parameters.ts';
import type { MembershipEffect, Via } from '../swim-port.ts';
import type { Members } from './members.ts';
import type { OwnStanding } from './own.ts';
import { accusationsOf, type Rumors } from './rumors.ts';

export interface MessengerOptions {
  readonly self: HostId;
  readonly parameters: SwimParameters;
  readonly table: Members;
  readonly own: OwnStanding;
  readonly places: Places;
  readonly rumors: Rumors;
  readonly root: () => Digest;
  readonly emit: (effect: MembershipEffect) => void;
}

export class Messenger {
  private readonly options: MessengerOptions;

  constructor(options: MessengerOptions) {
    this.options = options;
  }

  send(to: HostId, frame: SwimFrame, via: Via = 'datagram'): void {
    this.options.emit({ type: 'send', to, frame, via });
  }

  /** `insist`: over a connection, too. */
  ping(target: HostId, sequence: number, insist: boolean): void {
    const head = { type: 'ping', ...this.probeHead(target, sequence) } as const;
    this.send(target, { ...head, rumors: this.takeRumors(target) });
    if (insist) this.send(target, { ...head, rumors: [] }, 'stream');
  }

  /** It goes back the way the ping came: the other way may be closed. */
  ack(to: HostId, sequence: number, via: Via, wallMs: Millis): void {
    const ack: SwimFrame = {
      type: 'ack',
      ...this.probeHead(to, sequence),
      clock: Math.max(0, Math.floor(wallMs)),
      root: this.options.root(),
      rumors: this.takeRumors(to),
    };
    this.send(to, ack, via);
  }

  /** What a ping and an ack have in common. */
  private probeHead(peer: HostId, sequence: number) {
    const { own, places } = this.options;
    const { incarnation } = own;
    return { sequence, incarnation, coordinate: places.own, belief: this.beliefOf(peer) };
  }

  private beliefOf(id: HostId): Belief {
    const { table } = this.options;
    const index = table.indexOf(id);
    return index === undefined ? { state: 'unknown', incarnation: 0 } : table.standing(index);
  }

  /** Asks helpers to probe; returns how many. */
  pingRequests(target: HostId, sequence: number, urgent: boolean): number {
    const { table, parameters } = this.options;
    const helpers = table.sample(parameters.indirectProbes, table.indexOf(target));
    for (const helper of helpers) {
      const id = table.roster.idAt(helper);
      this.send(id, { type: 'ping-req', sequence, target, urgent, rumors: this.takeRumors(id) });
    }
    return helpers.length;
  }

  /** Asks some to look at once at whom this agent suspects. */
  askToCorroborate(index: number): void {
    const { table, parameters } = this.options;
    const { roster } = table;
    const suspect = { target: roster.idAt(index), incarnation: table.incarnation(index) };
    for (const helper of table.sample(parameters.corroborators, index)) {
      const id = roster.idAt(helper);
      this.send(id, { type: 'corroborate', ...suspect, rumors: this.takeRumors(id) });
    }
  }

  /** Tells a new peer who is impaired, which rumors may be over about; more than fits a datagram by connection. */
  greet(peer: HostId): void {
    const { self, parameters, table, own } = this.options;
    const impaired = table.impaired(maxRumors - 1).filter((member) => member.id !== peer);
    const rumors = [own.rumor(), ...accusationsOf(impaired, self)];
    const via = impaired.length < parameters.rumorsPerFrame ? 'datagram' : 'stream';
    this.send(peer, { type: 'rumors', rumors }, via);
  }

  /** Tells a few members, whoever they are. */
  spreadRumors(): void {
    const { table, parameters } = this.options;
    for (const index of table.sample(parameters.rumorFanout, undefined)) {
      const id = table.roster.idAt(index);
      const rumors = this.takeRumors(id);
      if (rumors.length > 0) this.send(id, { type: 'rumors', rumors });
    }
  }

  private takeRumors(listener: HostId): Rumor[] {
    const { rumors, parameters, table } = this.options;
    return rumors.take(parameters.rumorsPerFrame, table.count, listener);
  }
}
