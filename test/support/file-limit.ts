/**
 * Loaded into each test file's process: one that something keeps running long after its last test is ended and
 * counted as failed, instead of holding up the files behind it for ever.
 */
import { isMainThread } from 'node:worker_threads';

/** Far longer than any file takes on a busy machine, milliseconds. */
const limitMs = 600_000;

// The runner itself has no such limit, and threads end with their process.
if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined)
  setTimeout(() => {
    console.error(`still running after ${limitMs / 1000} s: ${process.getActiveResourcesInfo().join(', ')}`);
    process.exit(1);
  }, limitMs).unref();
