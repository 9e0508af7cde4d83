/** Unary gRPC calls, as many as go through, and what one costs. */
import { writeFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { join } from 'node:path';
import type { Stage } from '../stage.ts';
import { call, grpcMessage } from './backend.ts';
import { parseH2load } from './h2load-report.ts';
import { type SaturationResult, weigh } from './load.ts';
import { type Addresses, CannotCarry, type Subject } from './subject.ts';

const connections = 32;
/** Calls under way on each connection, as of a client with some concurrency. */
const streams = 4;
const answersWithinMs = 5000;

/** After one second to warm up that is not measured. */
export async function callThrough(
  stage: Stage,
  subject: Subject,
  endpoint: string,
  seconds: number,
): Promise<SaturationResult> {
  const message = join(stage.directory, 'grpc-message');
  writeFileSync(message, grpcMessage());
  const fields = ['content-type: application/grpc', 'te: trailers', 'user-agent: starling-bench/1.0'];
  const load = (duration: number): Promise<string> =>
    stage.run('h2load', [
      ...['-t', '1', '-c', String(connections), '-m', String(streams), '-D', String(duration), '-d', message],
      ...fields.flatMap((field) => ['-H', field]),
      `http://${endpoint}${call.path}`,
    ]);
  await load(1);
  return weigh(subject, endpoint, async () => parseH2load(await load(seconds)));
}

/** Without gRPC where a call does not come back as it should. */
export async function withoutUnserved(
  name: string,
  { http, grpc, tcp }: Addresses,
  say: (text: string) => void,
): Promise<Readonly<Partial<Addresses>>> {
  try {
    await assertServesCalls(grpc);
    return { http, grpc, tcp };
  } catch (error) {
    say(`${name} does not serve gRPC: ${(error as Error).message}`);
    return { http, tcp };
  }
}

/** Makes one call; rejects when it does not end with the message and status 0 in the trailers. */
function assertServesCalls(endpoint: string): Promise<void> {
  const session = connect(`http://${endpoint}`);
  const outcome = new Promise<void>((done, fail) => {
    const wrong = (what: string): void => fail(new CannotCarry(`a unary call: ${what}`));
    session.on('error', (error) => wrong(error.message));
    const stream = session.request({
      ...{ ':method': 'POST', ':path': call.path, te: 'trailers' },
      'content-type': 'application/grpc',
    });
    let answer = Buffer.alloc(0);
    let status: unknown = 'none';
    stream.on('data', (bytes: Buffer) => {
      answer = Buffer.concat([answer, bytes]);
    });
    stream.on('trailers', (trailers) => {
      status = trailers['grpc-status'];
    });
    stream.on('error', (error) => wrong(error.message));
    stream.on('close', () => {
      if (status !== '0') wrong(`grpc-status ${String(status)}`);
      else if (!answer.equals(grpcMessage())) wrong(`${answer.length} bytes that are not the answer`);
      else done();
    });
    stream.setTimeout(answersWithinMs, () => wrong('no answer'));
    stream.end(grpcMessage());
  });
  return outcome.finally(() => session.destroy());
}
