/**
 * `npm run bench -- trust`: what a root key in many hands costs. CPU of the cryptography beside the library's own,
 * handshakes with the certificates it signs, issuance by real agents, and how long a root takes to change hands.
 */
import type { TrustCommand } from '../arguments.ts';
import type { Row } from '../rows.ts';
import type { Stage } from '../stage.ts';
import { measureHandshakes } from './handshake.ts';
import { measureIssuance } from './issue.ts';
import type { TrustMeasurement } from './measurements.ts';
import { measurePure } from './pure.ts';
import { measureSuccession } from './succession.ts';

/** Programs that must be installed. */
export const trustBenchTools = ['openssl'];

type Say = (text: string) => void;

export async function benchTrust(stage: Stage, command: TrustCommand, say: Say): Promise<Row[]> {
  const measures: { readonly [name in TrustMeasurement]: () => Promise<Row[]> } = {
    pure: async () => measurePure(command.rounds, say),
    issue: () => measureIssuance(stage, command.sizes, command.rounds, say),
    succession: () => measureSuccession(stage, command.rounds, say),
    handshake: () => measureHandshakes(stage, command.rounds, say),
  };
  const rows: Row[] = [];
  for (const name of command.only) rows.push(...(await measures[name]()));
  return rows;
}
