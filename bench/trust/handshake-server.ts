/**
 * A process of its own, so that its CPU time is the servers' alone: for each chain (a folder's `root.pem` and
 * `leaf.pem`) a TLS server set as the proxies are, which says one byte to whoever proves itself, and hangs up.
 */
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { serverOptions } from '../../src/proxy/io/tls-contexts.ts';

const ports = await Promise.all(
  process.argv.slice(2).map((folder) => {
    const leaf = readFileSync(join(folder, 'leaf.pem'));
    const server = createServer(
      {
        ...serverOptions,
        ca: readFileSync(join(folder, 'root.pem')),
        cert: leaf,
        key: leaf,
        requestCert: true,
        rejectUnauthorized: true,
      },
      (socket) => {
        socket.on('error', () => socket.destroy());
        socket.end('!');
      },
    );
    return new Promise<number>((done) => {
      server.listen(0, '127.0.0.1', () => done((server.address() as AddressInfo).port));
    });
  }),
);
process.stdout.write(`ports ${ports.join(' ')}\n`);
