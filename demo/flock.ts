/**
 * Real agents as real processes on loopback addresses of one machine: started, watched, stopped by pid. The
 * demo, the end-to-end tests and the benchmarks all fly with this.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const root = resolve(import.meta.dirname, '..');
const starling = join(root, 'bin/starling');
const run = promisify(execFile);

/** How long an agent may take to say it is ready, on a machine that starts many others beside it. */
const readyWithinMs = 60_000;

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One process of ours, with what it printed; stopped by its pid. */
export class Program {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  stdout = '';
  stderr = '';

  constructor(command: string, args: readonly string[], env: { readonly [name: string]: string } = {}) {
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout = (this.stdout + text).slice(-1_000_000);
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-1_000_000);
    });
    this.exited = new Promise((done) => {
      this.child.once('exit', (code) => done(code));
      this.child.once('error', () => done(null));
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** The first line of stdout that starts with `prefix`; rejects when the process ends or time is up first. */
  line(prefix: string, withinMs: number): Promise<string> {
    return new Promise((done, fail) => {
      const seen = this.stdout.split('\n').find((line) => line.startsWith(prefix));
      if (seen !== undefined) {
        done(seen);
        return;
      }
      const lines = createInterface({ input: this.child.stdout! });
      const timer = setTimeout(() => finish(new Error(`no "${prefix}" within ${withinMs} ms`)), withinMs);
      const finish = (outcome: string | Error): void => {
        clearTimeout(timer);
        lines.close();
        this.child.stdout!.resume();
        if (typeof outcome === 'string') done(outcome);
        else fail(new Error(`${outcome.message}; stderr: ${this.stderr.trim() || '(empty)'}`));
      };
      lines.on('line', (line) => {
        if (line.startsWith(prefix)) finish(line);
      });
      this.child.once('exit', (code) => finish(new Error(`exited with ${code}`)));
    });
  }

  /** Sends a signal and waits for the end; after `withinMs` the process is killed. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', withinMs = 12_000): Promise<number | null> {
    if (!this.running) return this.exited;
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), withinMs);
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }
}

export interface BirdOptions {
  /** Last octet of its address 127.0.1.N, which also picks its loopback range 127.(64+N).0.0/16. */
  readonly n: number;
  readonly name: string;
  readonly extra?: readonly string[];
}

/** One agent: its address, its directory, its process. */
export class Bird {
  readonly name: string;
  readonly address: string;
  readonly dataDir: string;
  readonly http: string;
  readonly httpUrl: string;
  readonly dnsPort = 8600;
  readonly outboundPort = 15001;
  readonly inboundPort = 21000;
  readonly gossipPort = 7946;
  private readonly flags: readonly string[];
  program: Program | null = null;

  constructor(directory: string, options: BirdOptions) {
    this.name = options.name;
    this.address = `127.0.1.${options.n}`;
    this.dataDir = join(directory, options.name);
    this.http = `${this.address}:8500`;
    this.httpUrl = `http://${this.http}`;
    this.flags = [
      ...['--data-dir', this.dataDir, '--name', this.name, '--bind', this.address, '--http', this.http],
      ...['--dns', `${this.address}:${this.dnsPort}`, '--outbound', `${this.address}:${this.outboundPort}`],
      ...['--vip-range', `127.${64 + options.n}.0.0/16`, ...(options.extra ?? [])],
    ];
  }

  /** Starts the agent and resolves with its ready line. */
  async start(...flags: string[]): Promise<string> {
    this.program = new Program(starling, ['agent', ...this.flags, ...flags]);
    return this.program.line('starling: ready', readyWithinMs);
  }

  /** Starts the agent, expecting it to refuse; resolves with its exit code and output. */
  async startRefused(...flags: string[]): Promise<CommandResult> {
    const program = new Program(starling, ['agent', ...this.flags, ...flags]);
    const timer = setTimeout(() => program.child.kill('SIGKILL'), readyWithinMs);
    const code = await program.exited;
    clearTimeout(timer);
    return { code: code ?? -1, stdout: program.stdout, stderr: program.stderr };
  }

  /** Runs `starling …` against this agent. Never rejects: the exit code says. */
  async cli(...args: string[]): Promise<CommandResult> {
    return command(starling, [...args, '--http', this.http], {
      STARLING_OPERATOR_TOKEN_FILE: process.env.STARLING_OPERATOR_TOKEN_FILE ?? '',
    });
  }

  /** The CLI's JSON answer; rejects with its stderr when it was refused. */
  async json<T>(...args: string[]): Promise<T> {
    const result = await this.cli(...args, '--json');
    if (result.code !== 0) throw new Error(`starling ${args.join(' ')}: ${result.stderr.trim()}`);
    return JSON.parse(result.stdout) as T;
  }

  async get<T>(path: string): Promise<T> {
    const response = await fetch(this.httpUrl + path);
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  async put(
    path: string,
    body: unknown,
    headers: { readonly [name: string]: string } = {},
  ): Promise<Response> {
    return fetch(this.httpUrl + path, {
      method: 'PUT',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  }
}

/** Runs a program to its end; never rejects. */
export async function command(
  file: string,
  args: readonly string[],
  env: { readonly [name: string]: string } = {},
): Promise<CommandResult> {
  const clean = Object.fromEntries(
    Object.entries({ ...process.env, ...env }).filter(([, value]) => value !== ''),
  );
  try {
    const { stdout, stderr } = await run(file, args, { env: clean, timeout: 60_000, maxBuffer: 64 << 20 });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const failure = error as { code?: number | string; stdout?: string; stderr?: string; message: string };
    return {
      code: typeof failure.code === 'number' ? failure.code : -1,
      stdout: failure.stdout ?? '',
      stderr: failure.stderr || failure.message,
    };
  }
}

/** Several agents of one mesh, and whatever else was started beside them. */
export class Flock {
  readonly directory = mkdtempSync(join(tmpdir(), 'starling-flock-'));
  readonly birds: Bird[] = [];
  private readonly programs: Program[] = [];

  bird(options: BirdOptions): Bird {
    const bird = new Bird(this.directory, options);
    this.birds.push(bird);
    return bird;
  }

  /** Where the founder keeps the operator's token. */
  get operatorTokenFile(): string {
    return join(this.birds[0]!.dataDir, 'operator.token');
  }

  /** The first bird founds the mesh, the others join through it with one token each. */
  async start(birds: readonly BirdOptions[]): Promise<Bird[]> {
    const [first, ...rest] = birds.map((options) => this.bird(options));
    await first!.start('--bootstrap');
    await Promise.all(
      rest.map(async (bird) => {
        await bird.start('--join', first!.address, '--token', await this.token());
      }),
    );
    return this.birds;
  }

  /** A join token from the founder. */
  async token(...flags: string[]): Promise<string> {
    const created = await this.birds[0]!.json<{ token: string }>(
      'token',
      'create',
      ...flags,
      ...this.operator(),
    );
    return created.token;
  }

  /** CLI flags that make a command the operator's. */
  operator(): string[] {
    return ['--operator-token-file', this.operatorTokenFile];
  }

  /** A TypeScript program of this repository, as its own process. */
  program(
    file: string,
    args: readonly string[] = [],
    env: { readonly [name: string]: string } = {},
  ): Program {
    const program = new Program(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', join(root, file), ...args],
      env,
    );
    this.programs.push(program);
    return program;
  }

  /** Stops everything, last started first, and removes the directory. */
  async stop(): Promise<void> {
    await Promise.all(this.programs.map((program) => program.stop('SIGTERM', 2000)));
    await Promise.all(this.birds.map((bird) => bird.program?.stop()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/**
 * Resolves once `probe` answers true; rejects with `what` after `withinMs`. Polls, as an outsider must. A last look is
 * always one that began when time was up: a probe that took long tells of a moment before.
 */
export async function until(what: string, withinMs: number, probe: () => Promise<boolean>): Promise<number> {
  const start = performance.now();
  for (;;) {
    const began = performance.now();
    if (await probe()) return performance.now() - start;
    if (began - start > withinMs) throw new Error(`${what}: not within ${withinMs} ms`);
    await new Promise((done) => setTimeout(done, 20));
  }
}
