/** Requests by a user who is neither root nor the agent: the kernel notes who makes a socket. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { startApi, type TestApi } from './api.ts';

const isRoot = process.getuid?.() === 0;
export const strangerUid: number = isRoot ? 65534 : process.getuid!();

/** A server for which the stranger is neither root nor the agent. */
export function strangersApi(): Promise<TestApi> {
  return startApi(isRoot ? {} : { agentUid: strangerUid + 1 });
}

/** Status of a request over a socket that belongs to the stranger. */
export async function asStranger(
  target: TestApi,
  method: string,
  path: string,
  body = '',
  token = '',
): Promise<number> {
  const [host, port] = target.address.split(':');
  if (isRoot) process.seteuid!(strangerUid);
  const socket = connect(Number(port), host);
  try {
    await once(socket, 'connect');
  } finally {
    if (isRoot) process.seteuid!(0);
  }
  const head = [`${method} ${path} HTTP/1.1`, `Host: ${target.address}`, `Content-Length: ${body.length}`];
  if (token !== '') head.push(`X-Consul-Token: ${token}`);
  socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return Number(/^HTTP\/1.1 (\d{3})/.exec(answer.toString('latin1'))?.[1]);
}
