/** What an operator's wish for another root becomes: a policy record that every trustee acts on. Pure. */
import { Fault, type Signer } from '../../core.ts';
import type { PolicyWrite } from '../commands.ts';
import { ROOT_ROTATION, type RootRotationValue } from '../kinds.ts';
import type { CaStatus, RootRotation } from './ca-port.ts';

/**
 * Throws `Fault('conflict')` while a root is being replaced already, and where one host holds the root: that one
 * is replaced when there are hosts enough to share another. A root that is being retired hinders nobody.
 */
export function rotateRoot(
  ca: CaStatus,
  operator: Signer,
): { readonly write: PolicyWrite; readonly value: RootRotation } {
  const { generation, threshold, rotation } = ca;
  if (threshold === 1)
    throw new Fault(
      'conflict',
      `root g${generation} is held by one host: it is replaced once three hosts that may be trustees are here`,
    );
  if (rotation === 'asked' || rotation === 'introducing')
    throw new Fault('conflict', `a rotation is under way: ${underWay(ca)}`);
  const value: RootRotationValue = { generation };
  return {
    write: { kind: ROOT_ROTATION, key: 'rotation', value, operator },
    value: {
      generation,
      next: generation + 1,
      threshold,
      trustees: ca.trustees.map(({ name }) => name),
      absent: ca.trustees.filter(({ alive }) => !alive).map(({ name }) => name),
    },
  };
}

function underWay({ generation, rotation, roots }: CaStatus): string {
  if (rotation === 'asked') return `the trustees are to make root g${generation + 1}`;
  const waitingFor = roots.find((root) => root.generation === generation)?.waitingFor ?? [];
  const whom = waitingFor.length === 0 ? 'its turn' : waitingFor.slice(0, 8).join(', ');
  return `root g${generation} waits for ${whom}`;
}
