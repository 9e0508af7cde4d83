/** The gossip machine's effects in the agent's words. Pure. */
import type { GossipEffect } from '../gossip/port.ts';
import type { AgentEffect } from './effects.ts';
import { seal } from './envelope.ts';
import { shortId } from './kinds.ts';

/** What the core does not act on itself: the others concern it alone, and are never held back. */
export type OutwardEffect = Exclude<GossipEffect, { type: 'applied' | 'forgotten' | 'member' }>;

export function outward(effect: OutwardEffect): AgentEffect {
  switch (effect.type) {
    case 'send':
      return { type: 'send', to: effect.to, bytes: seal('gossip', effect.bytes) };
    case 'persist':
      return { ...effect, then: effect.then.map((released) => outward(released as OutwardEffect)) };
    case 'commit':
      return { type: 'input', input: { type: 'durable', records: effect.records } };
    case 'alarm':
      return {
        type: 'log',
        level: 'warn',
        event: effect.code,
        fields: { subject: shortId(effect.subject), detail: effect.detail },
      };
    default:
      return effect;
  }
}
