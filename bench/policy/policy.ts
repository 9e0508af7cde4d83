/**
 * `npm run bench -- policy`: what it costs an agent to follow its mesh. From the catalog to a compiled
 * configuration, compared with the one before, after a change of one thing; the peer does all of it from nothing.
 */
import { Projector, project } from '../../src/agent/project.ts';
import { Compiler, compile } from '../../src/proxy/compile/compile.ts';
import { configEquals } from '../../src/proxy/compile/equal.ts';
import type { ProxyConfig } from '../../src/proxy/config.ts';
import { instanceData, subsetFilter } from '../../src/proxy/filter/instance.ts';
import type { PolicyCommand } from '../arguments.ts';
import { type Row, row } from '../rows.ts';
import { median } from '../statistics.ts';
import { BenchMesh, type MeshSize } from './mesh.ts';

const size: MeshSize = { services: 2000, instances: 20_000, hosts: 1000 };
/** Changes a round, each followed by a configuration. */
const changesPerRound = 40;
const fromScratchPerRound = 4;
const fromScratch = 'from scratch';

/** What follows a change: either keeps what it made, or makes everything anew. */
type Follow = (mesh: BenchMesh) => ProxyConfig;

function incremental(): Follow {
  const projector = new Projector();
  const compiler = new Compiler();
  return (mesh) => compiler.compile(projector.project(mesh.input()));
}

const everything: Follow = (mesh) => compile(project(mesh.input()));

/** Something that happens in the mesh, told from others by a number that counts on. */
interface Change {
  readonly metric: string;
  make(mesh: BenchMesh, count: number): void;
  /** Whether the data plane has something to do. */
  readonly matters: boolean;
}

const changes: readonly Change[] = [
  {
    metric: 'one-instance-changed',
    matters: true,
    // An instance fails, and is well again before the next one does.
    make: (mesh, count) =>
      mesh.check(((count >> 1) * 7919) % size.instances, count % 2 === 0 ? 'critical' : 'passing'),
  },
  { metric: 'one-entry-written', matters: true, make: (mesh, count) => mesh.writeEntry(count + 1) },
  { metric: 'nothing-of-note', matters: false, make: (mesh) => mesh.catalog.touch('roots') },
];

export function benchPolicy(command: PolicyCommand, say: (text: string) => void): Row[] {
  const mesh = new BenchMesh(size);
  say(`a mesh of ${size.services} services, ${size.instances} instances on ${size.hosts} hosts`);
  const rows = changes.map((change) => measureChange(mesh, change, command.rounds, say));
  return [...rows, filterCost(mesh)];
}

function measureChange(mesh: BenchMesh, change: Change, rounds: number, say: (text: string) => void): Row {
  const mine: number[] = [];
  const theirs: number[] = [];
  const follow = incremental();
  let count = 0;
  const run = (by: Follow, times: number): number => {
    let before = by(mesh);
    return costOf(times, () => {
      change.make(mesh, count++);
      const next = by(mesh);
      if (configEquals(before, next) === change.matters) throw new Error(`${change.metric}: not followed`);
      before = next;
    });
  };
  // The first round is for the compiler of Node, and counts for nothing.
  for (let round = 0; round <= rounds; round++) {
    const cost = run(follow, changesPerRound);
    const peerCost = run(everything, fromScratchPerRound);
    if (round === 0) continue;
    mine.push(cost);
    theirs.push(peerCost);
    say(`${change.metric}, round ${round} of ${rounds}`);
  }
  return row({
    bench: 'policy',
    subject: 'incremental',
    peer: fromScratch,
    metric: change.metric,
    unit: 'ms CPU',
    value: median(mine),
    peerValue: median(theirs),
  });
}

/** What it takes to see whether one instance is in a subset. */
function filterCost(mesh: BenchMesh): Row {
  const filter = subsetFilter('Service.Meta.version == v1 and "primary" not in Service.Tags');
  if (typeof filter === 'string') throw new Error(filter);
  const instances = project(mesh.input()).services.flatMap(({ name, instances: all }) =>
    all.map((instance) => ({ name, instance })),
  );
  const once = (): void => {
    for (const { name, instance } of instances) filter.matches(instanceData(name, instance));
  };
  once();
  return row({
    bench: 'policy',
    subject: 'incremental',
    metric: 'subset-filter-per-instance',
    unit: 'us CPU',
    value: (costOf(5, once) * 1000) / instances.length,
  });
}

/** Milliseconds of CPU time for one of so many. */
function costOf(times: number, act: () => void): number {
  const before = process.cpuUsage();
  for (let i = 0; i < times; i++) act();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / times;
}
