/** What is told of single requests: by access log, spans and taps, and to whom. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault, seededRandom } from '../../../../src/core.ts';
import { RequestHead } from '../../../../src/proxy/http1/head.ts';
import { DenialLog } from '../../../../src/proxy/observe/denial-log.ts';
import { responseFlag } from '../../../../src/proxy/observe/flags.ts';
import type { HeadFacts } from '../../../../src/proxy/observe/head-facts.ts';
import { RequestObserver } from '../../../../src/proxy/observe/observers.ts';
import type { Span } from '../../../../src/proxy/observe/otlp.ts';
import { maxTaps, type TapEvent } from '../../../../src/proxy/observe/tap.ts';
import { TrafficCounter } from '../../../../src/proxy/observe/traffic.ts';

const wallOffsetMs = 1_700_000_000_000;
const everything = { source: '', destination: '', path: '', status: '' };
const endpoint = 'http://127.0.0.1:4318';

class Observed {
  readonly lines: { [field: string]: unknown }[] = [];
  readonly texts: string[] = [];
  readonly spans: Span[] = [];
  isActive = false;
  readonly cut: string[] = [];
  readonly counter = new TrafficCounter('source', 'web', 'api', 'http');
  readonly observer = new RequestObserver(
    {
      logLine: (line) => {
        this.texts.push(line);
        this.lines.push(JSON.parse(line) as { [field: string]: unknown });
      },
      span: (span) => this.spans.push(span),
      active: (isActive) => {
        this.isActive = isActive;
      },
    },
    seededRandom(5),
    (at) => at + wallOffsetMs,
  );

  begin(text: string) {
    const bytes = Buffer.from(text, 'latin1');
    const head: HeadFacts & RequestHead = Object.assign(new RequestHead(), {
      cutFields: (_bytes: Uint8Array, names: readonly Uint8Array[]) => {
        this.cut.push(...names.map((name) => Buffer.from(name).toString()));
      },
    });
    assert.ok(head.parse(bytes, 0, bytes.length) > 0, head.problem);
    return this.observer.begin(this.counter, bytes, head, 1000);
  }

  /** One request from beginning to end. */
  request(text: string, status = 200, flags = 0): void {
    const observation = this.begin(text);
    observation?.sentTo('host-b');
    observation?.end(1012.3456, status, flags, 120, 340);
  }
}

const plain = 'GET /a/b?token=SECRET HTTP/1.1\r\nHost: api.mesh\r\n\r\n';

test('while nobody asks, nothing is observed; a tap alone observes its own pair', () => {
  const observed = new Observed();
  assert.equal(observed.isActive, false);
  assert.equal(observed.begin(plain), null);
  const other = observed.observer.taps.watch({ ...everything, destination: 'db' }, () => {});
  assert.equal(observed.isActive, true);
  assert.equal(observed.begin(plain), null);
  const own = observed.observer.taps.watch({ ...everything, source: 'web' }, () => {});
  assert.notEqual(observed.begin(plain), null);
  own();
  other();
  own();
  assert.equal(observed.isActive, false);
});

test('a line has Envoy’s fields and no secret', () => {
  const observed = new Observed();
  observed.observer.configure({ sample: 1 }, null);
  observed.request(
    'POST /a/b?token=SECRET HTTP/1.1\r\nHost: api.mesh\r\nAuthorization: Bearer SECRET\r\n' +
      'Cookie: session=SECRET\r\nX-Request-Id: r-1\r\nUser-Agent: curl/8\r\nContent-Length: 0\r\n\r\n',
    503,
    responseFlag.UF | responseFlag.URX,
  );
  assert.doesNotMatch(observed.texts[0]!, /SECRET/);
  assert.deepEqual(observed.lines[0], {
    start_time: new Date(wallOffsetMs + 1000).toISOString(),
    reporter: 'source',
    source: 'web',
    destination: 'api',
    route_name: '',
    protocol: 'HTTP/1.1',
    method: 'POST',
    authority: 'api.mesh',
    path: '/a/b',
    response_code: 503,
    response_flags: 'UF,URX',
    duration: 12.346,
    bytes_received: 120,
    bytes_sent: 340,
    upstream_host: 'host-b',
    upstream_request_attempt_count: 1,
    request_id: 'r-1',
    user_agent: 'curl/8',
  });
});

test('a line says what the client spoke, and that a byte stream has no head', () => {
  const observed = new Observed();
  observed.observer.configure({ sample: 1 }, null);
  const call = observed.begin(plain)!;
  call.isHttp2 = true;
  call.end(1001, 200, 0, 1, 1, 14);
  observed.observer.beginStream(observed.counter, 1000)!.end(1001, 200, responseFlag.DC, 5, 6);
  const [http2, stream] = observed.lines;
  assert.deepEqual([http2!.protocol, http2!.grpc_status], ['HTTP/2', 14]);
  assert.deepEqual([stream!.protocol, 'path' in stream!, stream!.response_flags], ['TCP', false, 'DC']);
});

test('no client can write a line of its own, or do anything to a terminal', () => {
  const observed = new Observed();
  observed.observer.configure({ sample: 1 }, null);
  observed.request(
    'GET /\\n{"response_code":200} HTTP/1.1\r\nHost: a\r\n'.replace(' HTTP', '%0a HTTP').replace('} ', '}') +
      'User-Agent: \x9b31m"\\u000a\u00e9\t}\r\nX-Request-Id: "\xff\r\n\r\n',
  );
  assert.match(observed.texts[0]!, /^[ -~]+\n$/);
  assert.equal(observed.lines[0]!.user_agent, '\x9b31m"\\u000a\u00e9\t}');
  assert.equal(observed.lines[0]!.request_id, '"\xff');
});

test('a head full of text makes a short line', () => {
  const observed = new Observed();
  observed.observer.configure({ sample: 1 }, null);
  observed.request(`GET /${'p'.repeat(9000)} HTTP/1.1\r\nHost: a\r\nUser-Agent: ${'u'.repeat(9000)}\r\n\r\n`);
  assert.ok(observed.texts[0]!.length < 2500);
});

test('some are logged by chance, and those that fail always, as far as the rate allows', () => {
  const observed = new Observed();
  observed.observer.configure({ sample: 0.1 }, null);
  for (let request = 0; request < 500; request++) observed.request(plain);
  const sampled = observed.lines.length;
  assert.ok(sampled > 25 && sampled < 85, String(sampled));
  observed.observer.configure({ sample: 0 }, null);
  observed.request(plain, 404);
  assert.equal(observed.lines.length, sampled);
  for (let request = 0; request < 1000; request++) observed.request(plain, 502);
  assert.equal(observed.lines.length, sampled + 200);
});

test('a request without an id is given one, and the log names it', () => {
  const observed = new Observed();
  observed.observer.configure({ sample: 1 }, null);
  const observation = observed.begin(plain)!;
  observation.end(1001, 200, 0, 0, 0);
  observation.end(1001, 200, 0, 0, 0);
  assert.equal(observed.lines.length, 1);
  assert.match(observation.addedLines!.toString(), /^x-request-id: [0-9a-f]{32}\r\n$/);
  assert.ok(observation.addedLines!.includes(String(observed.lines[0]!.request_id)));
});

test('spans are told only where they have somewhere to go, and headers are touched only then', () => {
  const observed = new Observed();
  const traced = `GET /a?k=SECRET HTTP/1.1\r\nHost: api.mesh\r\nX-Request-Id: 1\r\ntraceparent: 00-${'a'.repeat(32)}-${'b'.repeat(16)}-01\r\n\r\n`;
  observed.observer.configure(null, { sample: 1, endpoint: '' });
  assert.equal(observed.begin(traced), null);
  observed.observer.configure({ sample: 0 }, { sample: 1, endpoint: '' });
  assert.equal(observed.begin(traced)!.addedLines, null);
  observed.observer.configure(null, { sample: 0, endpoint });
  observed.request(traced, 503, responseFlag.UH);
  assert.deepEqual(observed.cut, ['traceparent']);
  const [{ service, json }] = observed.spans as [Span];
  const { attributes, ...span } = json as { attributes: { key: string }[]; [field: string]: unknown };
  assert.equal(service, 'web');
  assert.deepEqual(
    { ...span, spanId: '' },
    {
      traceId: 'a'.repeat(32),
      spanId: '',
      parentSpanId: 'b'.repeat(16),
      name: 'web to api',
      kind: 3,
      startTimeUnixNano: '1700000001000000000',
      endTimeUnixNano: '1700000001012346000',
      status: { code: 2, message: '' },
    },
  );
  assert.doesNotMatch(JSON.stringify(attributes), /SECRET/);
  // One that begins here and is not drawn is told to nobody.
  observed.request(plain);
  assert.equal(observed.spans.length, 1);
});

test('a tap gets what it asked for', () => {
  const observed = new Observed();
  const told = new Map<string, number[]>();
  const tap = (name: string, filter: object) => {
    const statuses: number[] = [];
    told.set(name, statuses);
    observed.observer.taps.watch({ ...everything, ...filter }, ({ status }) => statuses.push(status));
  };
  tap('all', {});
  tap('5xx', { status: '5xx' });
  tap('404', { status: '404' });
  tap('UF', { status: 'uf' });
  tap('path', { path: '/a/' });
  tap('elsewhere', { path: '/b' });
  tap('other', { destination: 'db' });
  observed.request(plain);
  observed.request('GET /z HTTP/1.1\r\nHost: a\r\n\r\n', 404);
  observed.request(plain, 503, responseFlag.UF | responseFlag.URX);
  assert.deepEqual(Object.fromEntries(told), {
    all: [200, 404, 503],
    '5xx': [503],
    '404': [404],
    UF: [503],
    path: [200, 503],
    elsewhere: [],
    other: [],
  });
});

test('a tap event tells the request without its query, and taps are bounded', () => {
  const observed = new Observed();
  const events: TapEvent[] = [];
  observed.observer.taps.watch(everything, (event) => events.push(event));
  observed.request(plain);
  const { requestId, ...event } = events[0]!;
  assert.match(requestId, /^[0-9a-f]{32}$/);
  assert.deepEqual(event, {
    at: wallOffsetMs + 1000,
    reporter: 'source',
    source: 'web',
    destination: 'api',
    protocol: 'http',
    route: '',
    method: 'GET',
    authority: 'api.mesh',
    path: '/a/b',
    status: 200,
    flags: '-',
    grpcStatus: null,
    detail: '',
    rule: null,
    durationMs: 12.346,
    requestBytes: 120,
    responseBytes: 340,
    upstream: 'host-b',
    attempts: 1,
    traceId: '',
  });
  for (let more = 1; more < maxTaps; more++) observed.observer.taps.watch(everything, () => {});
  assert.throws(
    () => observed.observer.taps.watch(everything, () => {}),
    (error: unknown) => error instanceof Fault && error.code === 'too-many-waiting',
  );
});

test('a denial is logged at once, then every half minute with how often it happened', () => {
  const log = new DenialLog();
  const note = (source: string, now: number) => log.note(source, 'api', 'service-intentions/api', now)?.count;
  assert.equal(note('web', 0), 1);
  assert.equal(note('job', 0), 1);
  for (let now = 1; now < 100; now++) assert.equal(note('web', now), undefined);
  assert.equal(note('web', 30_000), 100);
  // Many callers at once do not flood the log; those left out are counted when there is room again.
  let lines = 0;
  for (let caller = 0; caller < 3000; caller++) if (note(`caller-${caller}`, 40_000) !== undefined) lines++;
  assert.equal(lines, 20);
  assert.equal(note('caller-500', 60_000), 2);
});

test('a span names the server and its port apart, and no port that the client did not say', () => {
  const observed = new Observed();
  observed.observer.configure(null, { endpoint, sample: 1 });
  const serverOf = (authority: string) => {
    observed.request(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    const { attributes } = observed.spans.at(-1)!.json as { attributes: { key: string; value: object }[] };
    return attributes
      .filter(({ key }) => key.startsWith('server.'))
      .map(({ value }) => Object.values(value)[0]);
  };
  assert.deepEqual(serverOf('api.mesh'), ['api.mesh']);
  assert.deepEqual(serverOf('127.0.1.1:9100'), ['127.0.1.1', '9100']);
  assert.deepEqual(serverOf('[fd00::7]:81'), ['fd00::7', '81']);
});
