/** The command line as users type it. */
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';

const starling = resolve(import.meta.dirname, '../../bin/starling');

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `starling` in a folder, and resolves however it ends. */
export function runCli(cwd: string, ...args: string[]): Promise<Ended> {
  return new Promise((done) => {
    execFile(starling, args, { cwd }, (error, stdout, stderr) =>
      done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}
