/** How long a root takes to pass into many hands, to be shared by more, and to be replaced. Real agents. */
import type { Row } from '../rows.ts';
import type { Stage } from '../stage.ts';
import { TrustMesh } from './mesh.ts';
import { Tally } from './tally.ts';

/** The first two hosts are long settled when the third comes. */
const settledMs = 4000;

export async function measureSuccession(
  stage: Stage,
  rounds: number,
  say: (text: string) => void,
): Promise<Row[]> {
  const tally = new Tally();
  for (let round = 1; round <= rounds; round++) {
    const mesh = await TrustMesh.found(stage);
    try {
      await measureMesh(stage, mesh, (metric, value) => {
        tally.add({ metric, unit: 'ms', value });
        say(`round ${round}: ${metric} ${value.toFixed(0)} ms`);
      });
    } finally {
      await mesh.stop();
    }
  }
  return tally.rows();
}

async function measureMesh(
  stage: Stage,
  mesh: TrustMesh,
  add: (metric: string, valueMs: number) => void,
): Promise<void> {
  await mesh.grow(1);
  await mesh.serve(mesh.birds);
  await stage.pause(settledMs);

  await mesh.grow(1);
  const joinedAt = performance.now();
  await mesh.untilActive(1);
  add('third-host-joined-to-g1-signs', performance.now() - joinedAt);
  await mesh.untilRetired(0);
  add('third-host-joined-to-g0-retired', performance.now() - joinedAt);
  await mesh.serve(mesh.birds);

  const askedAt = performance.now();
  await mesh.rotate();
  await mesh.untilActive(2);
  add('rotation-asked-to-g2-signs', performance.now() - askedAt);
  await mesh.untilRetired(1);
  add('rotation-asked-to-g1-retired', performance.now() - askedAt);

  await mesh.grow(2);
  const grownAt = performance.now();
  await mesh.untilSeated(5);
  add('fifth-host-joined-to-3-of-5', performance.now() - grownAt);
}
