/**
 * Power cuts on a real file system: ext4 in a file, mounted through a loop device, shut down at random moments
 * without its journal being flushed (FS_IOC_SHUTDOWN, as xfstests does). What the kernel had not yet written
 * is gone, what it had is there; then it is mounted again, which replays the journal, as after a reset.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Fault, seededRandom } from '../../src/core.ts';
import { Ledger } from './ledger.ts';
import { inspect, live, randomLife } from './session.ts';

const run = promisify(execFile);
const imageBytes = 256 * 1024 * 1024;
const livesPerImage = 10;
/** FS_IOC_SHUTDOWN is _IOR('X', 125, __u32); 2 is "do not flush the journal" (linux/include/uapi/linux/fs.h). */
const shutDown =
  'use Fcntl; sysopen(F, $ARGV[0], O_RDONLY) or die "open: $!"; my $how = pack("L", 2); ioctl(F, 0x8004587D, $how) or die "ioctl: $!";';
/** Ordered data reaches the disk before the size that covers it; written back, a file may end in rubbish. */
const journalling = ['data=ordered', 'data=writeback'];

export interface CutOptions {
  readonly cuts: number;
  readonly seed: number;
  readonly progress: (done: number, violations: number) => void;
}

/** Why power cannot be cut here, or null. */
export async function obstacle(): Promise<string | null> {
  if (process.getuid?.() !== 0) return 'mounting takes root';
  try {
    await access('/dev/loop-control');
    for (const tool of ['mkfs.ext4', 'e2fsck', 'mount', 'umount', 'unshare', 'perl'])
      await run('sh', ['-c', `command -v ${tool}`]);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message.trim() : String(error);
  }
}

/** A disk whose power can be cut. */
class Disk {
  readonly folder: string;
  private readonly image: string;
  private readonly options: string;

  constructor(home: string, name: string, options: string) {
    this.image = join(home, `${name}.ext4`);
    this.folder = join(home, name);
    this.options = options;
  }

  async format(): Promise<void> {
    await mkdir(this.folder);
    await writeFile(this.image, '');
    await truncate(this.image, imageBytes);
    await run('mkfs.ext4', ['-q', '-F', this.image]);
  }

  async mount(): Promise<void> {
    await run('mount', ['-o', `loop,${this.options}`, this.image, this.folder]);
  }

  async unmount(): Promise<void> {
    await run('umount', [this.folder]);
  }

  async cut(): Promise<void> {
    await run('perl', ['-e', shutDown, this.folder]);
  }

  /** Throws unless the file system is sound. */
  async check(): Promise<void> {
    await run('e2fsck', ['-fn', this.image]);
  }
}

/**
 * Runs a script of this project where its mounts are its own: a namespace that another process makes meanwhile
 * would hold on to a copy of them, and a file system that was shut down would stay so. Returns its exit code.
 */
export async function runWithOwnMounts(script: string, ...args: string[]): Promise<number> {
  const command = ['--mount', process.execPath, ...process.execArgv, script, ...args];
  const child = spawn('unshare', command, { stdio: 'inherit' });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

/** Ledgers of every image used. To be run where mounts are one's own. Faults: `no-power-cuts`. */
export async function runCuts({ cuts, seed, progress }: CutOptions): Promise<readonly Ledger[]> {
  const problem = await obstacle();
  if (problem !== null)
    throw new Fault('no-power-cuts', `power cuts need root, loop devices, e2fsprogs and perl: ${problem}`);
  const home = await mkdtemp(join(tmpdir(), 'starling-cuts-'));
  const ledgers: Ledger[] = [];
  try {
    for (let done = 0; done < cuts; ) {
      const ledger = new Ledger();
      ledgers.push(ledger);
      const name = `disk-${ledgers.length}`;
      const disk = new Disk(home, name, journalling[ledgers.length % journalling.length]!);
      await disk.format();
      const random = seededRandom(seed + ledgers.length);
      for (let i = 0; i < livesPerImage && done < cuts; i++) {
        await cutOnce(disk, ledger, { random, isFirst: i === 0, cache: join(home, 'cache') });
        done += 1;
        progress(
          done,
          ledgers.reduce((sum, { violations }) => sum + violations.length, 0),
        );
      }
    }
    return ledgers;
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/** One life on the disk, the cut, and a look into the store once the disk is mounted again. */
async function cutOnce(
  disk: Disk,
  ledger: Ledger,
  options: {
    readonly random: ReturnType<typeof seededRandom>;
    readonly isFirst: boolean;
    readonly cache: string;
  },
): Promise<void> {
  const { random, isFirst, cache } = options;
  const directory = join(disk.folder, 'data');
  const life = randomLife(directory, random);
  const end = isFirst ? ({ after: 'spawn', delayMs: random.next() * 600 } as const) : life.end;
  await disk.mount();
  try {
    await live({ ...life, end, lastWordsCount: false }, { cache }, ledger, async (child) => {
      await disk.cut();
      child.kill('SIGKILL');
    });
  } finally {
    await disk.unmount();
  }
  await disk.mount();
  try {
    // What was written back without its metadata looks like damage, and is told as such; it was not synced.
    await inspect(directory, ledger, { mayBeDamaged: true });
  } finally {
    await disk.unmount();
  }
  await disk.check();
}
