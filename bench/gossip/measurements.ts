/** What the gossip benchmark can measure, in the order in which it does: the rough ones come last. */
export const measurements = ['join', 'idle', 'change', 'kill', 'stop', 'cut', 'freeze'] as const;

export type Measurement = (typeof measurements)[number];
