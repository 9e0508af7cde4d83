/** The programs that the benchmarks need beside ours. */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

function isOnPath(tool: string): boolean {
  return (process.env.PATH ?? '').split(':').some((folder) => {
    try {
      accessSync(join(folder || '.', tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Throws with the line that installs them when any is missing. */
export function assertTools(tools: readonly string[]): void {
  const missing = tools.filter((tool) => !isOnPath(tool));
  if (missing.length > 0) throw new Error(`not installed: ${missing.join(', ')}; run \`npm run setup:test\``);
}
