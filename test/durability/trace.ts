/**
 * What a process asked of the file system under one folder, in order, as strace saw it. Everything a writer
 * does there is to create files, append to them, sync, rename and delete; anything else stops the reader.
 */
import { assert } from '../../src/core.ts';

export type FileStep =
  | { readonly type: 'create' | 'unlink' | 'mkdir' | 'sync'; readonly path: string }
  | { readonly type: 'append'; readonly path: string; readonly data: Buffer }
  | { readonly type: 'rename'; readonly path: string; readonly to: string }
  /** A line that the process printed. */
  | { readonly type: 'said'; readonly text: string };

/** A step with the places in the trace where it began and had ended. */
export type Traced = FileStep & { readonly begunAt: number; readonly endedAt: number };

/** The arguments that make strace write what `readTrace` reads. */
export function straceArguments(output: string): string[] {
  const calls = 'openat,write,pwrite64,rename,unlink,mkdir,ftruncate,fsync,fdatasync';
  const options = ['-f', '-y', '-qq', '-xx', '-s', '1000000', '--seccomp-bpf', '-e', 'signal=none'];
  return ['strace', ...options, '-e', `trace=${calls}`, '-o', output];
}

const call = /^(\w+)\((.*)\) += (-?\d+)/;

/** The steps below `folder`, by their beginnings. Calls that failed, or never ended, changed nothing. */
export function readTrace(text: string, folder: string): Traced[] {
  const begun = new Map<string, { readonly at: number; readonly text: string }>();
  const steps: Traced[] = [];
  for (const [endedAt, line] of text.split('\n').entries()) {
    const [, thread = '', rest = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const unfinished = /^(.*) <unfinished \.\.\.>$/.exec(rest);
    if (unfinished !== null) {
      begun.set(thread, { at: endedAt, text: unfinished[1]! });
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const before = resumed === null ? undefined : begun.get(thread);
    const begunAt = before?.at ?? endedAt;
    const step = stepOf(before === undefined ? rest : before.text + resumed![1]!, folder);
    if (step !== null) steps.push({ ...step, begunAt, endedAt });
  }
  return steps.sort((a, b) => a.begunAt - b.begunAt);
}

function stepOf(text: string, folder: string): FileStep | null {
  const [, name, parameters = '', result] = call.exec(text) ?? [];
  if (name === undefined || Number(result) < 0) return null;
  const strings = [...parameters.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, hex]) => bytesOf(hex!));
  const isInside = (path: string): boolean => path === folder || path.startsWith(`${folder}/`);
  const path = strings[0]?.toString() ?? '';
  const [, descriptor, opened = ''] = /^(\d+)<([^>]*)>/.exec(parameters) ?? [];
  const file = bytesOf(opened).toString();
  switch (name) {
    case 'openat':
      // What is there already is truncated, which makes it as good as new.
      return isInside(path) && parameters.includes('O_CREAT') ? { type: 'create', path } : null;
    case 'mkdir':
    case 'unlink':
      return isInside(path) ? { type: name, path } : null;
    case 'rename':
      return isInside(path) ? { type: 'rename', path, to: strings[1]!.toString() } : null;
    case 'fsync':
    case 'fdatasync':
      return isInside(file) ? { type: 'sync', path: file } : null;
    case 'write':
      if (isInside(file))
        return { type: 'append', path: file, data: strings[0]!.subarray(0, Number(result)) };
      return descriptor === '1' ? { type: 'said', text: path.trimEnd() } : null;
    default:
      assert(!isInside(file), `the trace has a step that nobody models: ${name} of ${file}`);
      return null;
  }
}

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll('\\x', ''), 'hex');
}
