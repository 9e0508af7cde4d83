/**
 * A small real HTTP service for the demo, the tests and the benchmarks. `--name N --listen ADDR:PORT`; with
 * `--call URL` every answer includes what that URL answered, fetched as any application would: plain HTTP.
 */
import { createServer, request } from 'node:http';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    name: { type: 'string', default: 'service' },
    listen: { type: 'string', default: '127.0.0.1:9000' },
    call: { type: 'string' },
    host: { type: 'string' },
  },
});
const [address = '', port = ''] = values.listen.split(':');

/** One GET; resolves with status and body, rejects when the connection fails. */
function call(url: string, host: string | undefined): Promise<{ status: number; body: string }> {
  return new Promise((done, fail) => {
    const outgoing = request(url, { headers: host === undefined ? {} : { host } }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => done({ status: response.statusCode ?? 0, body }));
      response.on('error', fail);
    });
    outgoing.on('error', fail);
    outgoing.end();
  });
}

const server = createServer((incoming, outgoing) => {
  if (incoming.url === '/health') {
    outgoing.end('well\n');
    return;
  }
  const caller = incoming.headers['x-forwarded-client-cert'];
  const self = { service: values.name, address: values.listen, caller: caller ?? null };
  const answer = (status: number, body: object): void => {
    outgoing.writeHead(status, { 'content-type': 'application/json' });
    outgoing.end(`${JSON.stringify(body)}\n`);
  };
  if (values.call === undefined) {
    incoming.resume();
    incoming.on('end', () => answer(200, self));
    return;
  }
  call(values.call, values.host).then(
    ({ status, body }) => answer(status === 200 ? 200 : 502, { ...self, status, called: body.trim() }),
    (error: Error) => answer(502, { ...self, error: error.message }),
  );
});
server.listen(Number(port), address, () =>
  process.stdout.write(`service: ready ${values.name} ${values.listen}\n`),
);
process.on('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});
