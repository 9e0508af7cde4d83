import assert from 'node:assert/strict';
import fs, {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { DefinitionFiles, type DefinitionSet } from '../../../../src/agent/io/definition-files.ts';
import { uidOfUser } from '../../../../src/agent/io/users.ts';

/** A folder that is watched, and what is reported of it. */
class Watched {
  readonly folder: string;
  private readonly sets: DefinitionSet[] = [];
  private waiting: (() => void) | null = null;
  private readonly files: DefinitionFiles;

  constructor(context: TestContext, only?: string, pollMs?: number) {
    this.folder = mkdtempSync(join(tmpdir(), 'starling-files-'));
    this.files = new DefinitionFiles({
      path: only === undefined ? this.folder : join(this.folder, only),
      uidOfUser: (user) => uidOfUser(user),
      onChange: (set) => {
        this.sets.push(set);
        this.waiting?.();
      },
      ...(pollMs === undefined ? {} : { pollMs }),
    });
    context.after(async () => {
      await this.files.close();
      rmSync(this.folder, { recursive: true, force: true });
    });
  }
  start(): Promise<void> {
    return this.files.start();
  }
  path(name: string): string {
    return join(this.folder, name);
  }
  write(name: string, content: unknown): void {
    writeFileSync(this.path(name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  /** Waits for a report in which these services, and problems with these codes, are what there is. */
  async until(ids: string[], codes: string[] = []): Promise<DefinitionSet> {
    for (;;) {
      const last = this.sets.at(-1);
      if (
        last !== undefined &&
        JSON.stringify(last.definitions.map(({ id }) => id)) === JSON.stringify(ids) &&
        JSON.stringify(last.problems.map(({ fault }) => fault.code)) === JSON.stringify(codes)
      )
        return last;
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
    }
  }
  get reports(): number {
    return this.sets.length;
  }
}

test('JSON and YAML files of a folder are read in the order of their names', async (context) => {
  const watched = new Watched(context);
  watched.write('b.json', { service: { name: 'web', port: 80, user: 'root' } });
  watched.write('a.yaml', 'services:\n  - name: api\n    port: 9090\n    checks:\n      - ttl: 15s\n');
  watched.write('c.yml', 'name: job\n');
  watched.write('.hidden.json', '{');
  watched.write('notes.txt', 'not a definition');
  mkdirSync(watched.path('folder'));
  await watched.start();
  const { definitions } = await watched.until(['api', 'web', 'job']);
  assert.equal(definitions[0]!.source, `file:${watched.path('a.yaml')}`);
  assert.equal(definitions[1]!.uid, 0);
});

test('files that come, change and go are followed', async (context) => {
  const watched = new Watched(context);
  await watched.start();
  await watched.until([]);
  watched.write('web.json', { name: 'web' });
  await watched.until(['web']);
  watched.write('api.json', { name: 'api' });
  await watched.until(['api', 'web']);
  watched.write('web.json', { name: 'web', id: 'web-2' });
  await watched.until(['api', 'web-2']);
  unlinkSync(watched.path('api.json'));
  await watched.until(['web-2']);
});

test('where the system has no watch left, files are read all the same, and looked at now and then', async (context) => {
  const watched = new Watched(context, undefined, 10);
  context.mock.method(fs, 'watch', () => {
    throw Object.assign(new Error('too many open files, watch'), { code: 'EMFILE' });
  });
  syncBuiltinESMExports();
  context.after(() => {
    context.mock.restoreAll();
    syncBuiltinESMExports();
  });
  watched.write('web.json', { name: 'web' });
  await watched.start();
  await watched.until(['web']);
  watched.write('api.json', { name: 'api' });
  await watched.until(['api', 'web']);
});

test('a file that is replaced by renaming is followed, also when it is watched by itself', async (context) => {
  const watched = new Watched(context, 'web.json');
  watched.write('web.json', { name: 'web' });
  watched.write('other.json', { name: 'other' });
  await watched.start();
  await watched.until(['web']);
  for (const id of ['web-2', 'web-3']) {
    watched.write('.web.json.tmp', { name: 'web', id });
    renameSync(watched.path('.web.json.tmp'), watched.path('web.json'));
    await watched.until([id]);
  }
});

test('a file with an error keeps what it said before, and the error is told', async (context) => {
  const watched = new Watched(context);
  watched.write('web.json', { name: 'web', port: 80 });
  watched.write('api.json', { name: 'api' });
  await watched.start();
  await watched.until(['api', 'web']);
  watched.write('web.json', '{"name": "web", ');
  const { problems } = await watched.until(['api', 'web'], ['malformed']);
  assert.equal(problems[0]!.path, watched.path('web.json'));
  assert.ok(problems[0]!.fault.message.startsWith(`${watched.path('web.json')}: not JSON: `));
  watched.write('web.json', { services: [{ name: 'web' }, { name: 'web2', port: 'x' }] });
  const half = await watched.until(['api', 'web'], ['invalid-field']);
  assert.equal(half.problems[0]!.fault.field, 'services[1].port');
  watched.write('web.json', { services: [{ name: 'web' }, { name: 'web2', port: 1 }] });
  await watched.until(['api', 'web', 'web2']);
});

test('each thing that can be wrong with a file is told by code', async (context) => {
  const watched = new Watched(context);
  watched.write('a.yaml', 'name: "unclosed\n');
  watched.write('b.yaml', 'name: a\nname: b\n');
  watched.write('c.hcl', 'service { name = "web" }');
  watched.write('d.json', '"x"');
  watched.write('e.json', ' '.repeat(1024 * 1024 + 1));
  mkdirSync(watched.path('f.json'));
  watched.write('g.json', { name: 'web', user: 'no-such-user-here' });
  watched.write(
    'h.yaml',
    `${Array.from(
      { length: 12 },
      (_, i) =>
        `x${i}: &a${i} [${
          i === 0
            ? '1'
            : Array(9)
                .fill(`*a${i - 1}`)
                .join(', ')
        }]`,
    ).join('\n')}\n`,
  );
  await watched.start();
  await watched.until(
    [],
    [
      'malformed',
      'malformed',
      'unsupported',
      'invalid-field',
      'too-large',
      'not-a-file',
      'invalid-field',
      'malformed',
    ],
  );
});

test('of two files that define one id the first by name wins, as a whole', async (context) => {
  const watched = new Watched(context);
  watched.write('a.json', { name: 'web' });
  watched.write('b.json', { services: [{ name: 'web' }, { name: 'api' }] });
  watched.write('c.json', {
    services: [
      { name: 'job', check: { id: 'x', ttl: '1s' } },
      { name: 'db', check: { id: 'x', ttl: '1s' } },
    ],
  });
  await watched.start();
  await watched.until(['web'], ['duplicate-id', 'duplicate-id']);
  unlinkSync(watched.path('a.json'));
  await watched.until(['web', 'api'], ['duplicate-id']);
});

test('a file that names a program must not be writable by everyone', async (context) => {
  const watched = new Watched(context);
  watched.write('web.json', { name: 'web', check: { args: ['/bin/true'], interval: '1s' } });
  chmodSync(watched.path('web.json'), 0o666);
  await watched.start();
  await watched.until([], ['unsafe-file']);
  chmodSync(watched.path('web.json'), 0o644);
  await watched.until(['web']);
});

test('a place that is not there yet is reported, and read once it comes', async (context) => {
  const watched = new Watched(context, 'web.json');
  await watched.start();
  await watched.until([], ['unreadable']);
  await watched.start();
  assert.equal(watched.reports, 1);
  watched.write('web.json', { name: 'web' });
  await watched.start();
  await watched.until(['web']);
});

test('uids come from the user database', () => {
  assert.equal(uidOfUser('root'), 0);
  assert.equal(uidOfUser('1234'), 1234);
  assert.equal(uidOfUser('no-such-user-here'), null);
});
