/**
 * What Node's own modules make of it, in one process: `outbound` takes HTTP/1.1, HTTP/2 in the clear and bytes, and
 * carries them over mutual TLS to `inbound`, HTTP by `node:http2`. `node node-proxy.ts SIDE OPTIONS-AS-JSON`.
 */
import { readFileSync } from 'node:fs';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  createServer as createHttp2Server,
  createSecureServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { type Certificates, cipherSuite, serverName } from './certificates.ts';
import type { Addresses, Way } from './subject.ts';

const [side, json] = process.argv.slice(2);
const { certificates, way } = JSON.parse(json!) as { certificates: Certificates; way: Way };
const isInbound = side === 'inbound';
const pair = isInbound ? certificates.inbound : certificates.outbound;
const tls = {
  cert: readFileSync(pair.certificate),
  key: readFileSync(pair.key),
  ca: readFileSync(certificates.authority),
  ciphers: cipherSuite,
  minVersion: 'TLSv1.3',
} as const;
const mutual = { ...tls, requestCert: true, rejectUnauthorized: true };
const settings = { initialWindowSize: 1 << 20, maxConcurrentStreams: 4096 };

/** Fields that are about one connection. */
const perConnection = new Set(['connection', 'keep-alive', 'te', 'upgrade', 'transfer-encoding', 'host']);

function endToEnd(headers: IncomingHttpHeaders | IncomingMessage['headers']): OutgoingHttpHeaders {
  const kept: OutgoingHttpHeaders = {};
  for (const [name, value] of Object.entries(headers))
    if (!name.startsWith(':') && !perConnection.has(name)) kept[name] = value;
  return kept;
}

function ends(address: string): { host: string; port: number } {
  const [host = '', port] = address.split(':');
  return { host, port: Number(port) };
}

/** One session to a server, opened anew when it is gone. */
function sessionTo(url: string, options: object): () => ClientHttp2Session {
  let session: ClientHttp2Session | null = null;
  return () => {
    if (session === null || session.closed || session.destroyed) {
      session = connectHttp2(url, { settings, ...options });
      session.on('error', () => {});
    }
    return session;
  };
}

function secureSessionTo(address: string): () => ClientHttp2Session {
  return sessionTo(`https://${address}`, { ...tls, servername: serverName });
}

/** HTTP/1.1 in, one stream of the session out. */
function serveHttp1(session: () => ClientHttp2Session) {
  return (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const { method, url, headers } = incoming;
    const fields = { ':method': method, ':path': url, ':authority': headers.host, ...endToEnd(headers) };
    const stream = session().request(fields, { endStream: method === 'GET' });
    if (method !== 'GET') incoming.pipe(stream);
    stream.on('response', (answer) => {
      if (!outgoing.destroyed && !outgoing.headersSent)
        outgoing.writeHead(answer[':status']!, endToEnd(answer));
    });
    stream.on('error', () => outgoing.destroy());
    outgoing.on('close', () => stream.close());
    stream.pipe(outgoing);
  };
}

const agent = new Agent({ keepAlive: true, maxSockets: 1024, maxFreeSockets: 1024, scheduling: 'lifo' });

/** One stream in, HTTP/1.1 out. */
function answerFrom(application: string) {
  const { host, port } = ends(application);
  return (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    const method = headers[':method'] ?? 'GET';
    const fields = { ...endToEnd(headers), host: headers[':authority'] };
    const outgoing = request(
      { agent, host, port, method, path: headers[':path'], headers: fields },
      (answer) => {
        if (stream.closed || stream.destroyed) {
          answer.destroy();
          return;
        }
        stream.respond({ ':status': answer.statusCode, ...endToEnd(answer.headers) });
        answer.pipe(stream);
      },
    );
    outgoing.on('error', () => stream.destroy());
    stream.on('error', () => outgoing.destroy());
    if (method === 'GET') outgoing.end();
    else stream.pipe(outgoing);
  };
}

/** Stream to stream, with trailers. */
function relayCalls(session: () => ClientHttp2Session) {
  return (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    const pseudo = {
      ':method': headers[':method'],
      ':path': headers[':path'],
      ':authority': headers[':authority'],
    };
    const call: ClientHttp2Stream = session().request({ ...pseudo, ...endToEnd(headers), te: 'trailers' });
    let trailers: OutgoingHttpHeaders = {};
    call.on('trailers', (fields) => {
      trailers = endToEnd(fields);
    });
    call.on('response', (answer) => {
      if (stream.closed || stream.destroyed || stream.headersSent) return;
      stream.respond({ ':status': answer[':status'], ...endToEnd(answer) }, { waitForTrailers: true });
      call.pipe(stream);
    });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.on('error', () => call.close());
    call.on('error', () => stream.close());
    stream.pipe(call);
  };
}

function relayBytes(dial: () => Socket) {
  return (socket: Socket): void => {
    const other = dial();
    const over = (): void => {
      socket.destroy();
      other.destroy();
    };
    pipeline(socket, other, over);
    pipeline(other, socket, over);
  };
}

function serveOutbound({ client, inbound }: { client: Addresses; inbound: Addresses }): void {
  const http = createServer({ keepAliveTimeout: 3_600_000, requestTimeout: 0 });
  http.on('request', serveHttp1(secureSessionTo(inbound.http))).listen(ends(client.http));
  const calls = createHttp2Server({ settings });
  calls.on('stream', relayCalls(secureSessionTo(inbound.grpc))).listen(ends(client.grpc));
  const dial = (): Socket => connectTls({ ...tls, ...ends(inbound.tcp), servername: serverName });
  createTcpServer(relayBytes(dial)).listen(ends(client.tcp));
}

function serveInbound({ inbound, application }: { inbound: Addresses; application: Addresses }): void {
  const http = createSecureServer({ ...mutual, settings });
  http.on('stream', answerFrom(application.http)).listen(ends(inbound.http));
  const calls = createSecureServer({ ...mutual, settings });
  calls.on('stream', relayCalls(sessionTo(`http://${application.grpc}`, {}))).listen(ends(inbound.grpc));
  const dial = (): Socket => connect(ends(application.tcp));
  createTlsServer(mutual, relayBytes(dial)).listen(ends(inbound.tcp));
}

if (isInbound) serveInbound(way);
else serveOutbound(way);
