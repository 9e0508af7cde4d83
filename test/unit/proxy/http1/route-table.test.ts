/** Which way requests take through the routes of a destination, and what becomes of them on it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Route, SplitTarget } from '../../../../src/proxy/config.ts';
import { Refusal } from '../../../../src/proxy/http1/refusal.ts';
import { RouteTable } from '../../../../src/proxy/http1/route-table.ts';
import type { HeaderMatch, PathMatch, RequestMatch } from '../../../../src/proxy/policy.ts';
import { noTimeouts } from '../../../../src/proxy/policy-defaults.ts';
import { destination, plainRoute } from '../../../support/mesh.ts';
import { type MemoryTransport, TestEngine } from '../../../support/transport.ts';

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: app\r\n\r\nok';

function match(more: Partial<RequestMatch>): RequestMatch {
  return { path: null, headers: [], query: [], methods: [], ...more };
}

function path(type: PathMatch['type'], value: string, ignoreCase = false): RequestMatch {
  return match({ path: { type, value, ignoreCase } });
}

function header(more: Partial<HeaderMatch>): RequestMatch {
  return match({
    headers: [{ name: 'x-a', type: 'exact', value: 'v', ignoreCase: false, invert: false, ...more }],
  });
}

function split(cluster: string, weight = 10_000, more: Partial<SplitTarget> = {}): SplitTarget {
  return { cluster, weight, rule: '', requestHeaders: null, responseHeaders: null, ...more };
}

/** A client of a destination with these routes and a last one to `rest`; each cluster has one endpoint of its name. */
class Routed {
  readonly engine = new TestEngine([]);
  readonly client: MemoryTransport;

  constructor(routes: readonly Route[], empty: readonly string[] = [], failover: readonly string[] = []) {
    const { engine } = this;
    const groups = new Map<string, ReturnType<TestEngine['groupOf']>>();
    const groupOf = (id: string): ReturnType<TestEngine['groupOf']> => {
      const group = groups.get(id) ?? engine.groupOf(empty.includes(id) ? [] : [id]);
      groups.set(id, group);
      return group;
    };
    const all = [...routes, plainRoute('rest')];
    const api = { ...destination({ service: 'api', protocol: 'http', id: 'api' } as never), routes: all };
    const table = new RouteTable(api, noTimeouts, engine.counter, (id) => ({
      ...engine.targetOf([id, ...failover].map(groupOf)),
      unavailable: () => new Refusal(503, 'no-healthy-upstream', id),
    }));
    this.client = engine.acceptBy({
      route: (bytes, head) => table.route(bytes, head),
      clientAddress: '',
      unread: engine.counter,
    }).client;
  }

  /** The cluster that gets the request, and the request as it gets there; the answer goes to the client. */
  send(target: string, fields = '', method = 'GET', answer = ok): { cluster: string; request: string } {
    this.client.take();
    for (const { transport } of this.engine.dialed) transport.take();
    this.client.receive(`${method} ${target} HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\n${fields}\r\n`);
    for (const { id, transport } of this.engine.dialed) {
      const request = transport.take();
      if (request === '') continue;
      transport.receive(answer);
      return { cluster: id, request };
    }
    return { cluster: '', request: '' };
  }
}

function routedBy(requestMatch: RequestMatch): Routed {
  return new Routed([{ ...plainRoute('special'), match: requestMatch }]);
}

test('a request takes the first route of which all holds', () => {
  const cases: readonly (readonly [RequestMatch, readonly string[], readonly string[]])[] = [
    [path('exact', '/a'), ['/a', '/a?x=1', '/b/../a', '/%61'], ['/a/', '/A', '/ab', '/']],
    [path('exact', '/a', true), ['/A'], ['/ab']],
    [path('prefix', '/a'), ['/a', '/a/b', '/ab'], ['/', '/A/a', '/b?/a']],
    [path('regex', '/a/[0-9]+'), ['/a/1', '/a/12?x'], ['/a/', '/a/1x', '/b/a/1']],
    [match({ methods: ['PUT', 'POST'] }), [], ['/']],
    [
      match({ query: [{ name: 'x', type: 'exact', value: '1' }] }),
      ['/?x=1', '/?y&x=1'],
      ['/', '/?x', '/?x=2&x=1'],
    ],
    [match({ query: [{ name: 'x', type: 'present', value: '' }] }), ['/?x', '/?x=2'], ['/', '/?xx=1']],
    [match({ query: [{ name: 'x', type: 'regex', value: '[ab]+' }] }), ['/?x=ab'], ['/?x=abc']],
  ];
  for (const [requestMatch, inside, outside] of cases) {
    const routed = routedBy(requestMatch);
    for (const target of inside) assert.equal(routed.send(target).cluster, 'special', target);
    for (const target of outside) assert.equal(routed.send(target).cluster, 'rest', target);
  }
  const byMethod = routedBy(match({ methods: ['DELETE'] }));
  assert.equal(byMethod.send('/', '', 'DELETE').cluster, 'special');
});

test('fields are matched by name in any case, several of one name with a comma between them', () => {
  const cases: readonly (readonly [Partial<HeaderMatch>, readonly string[], readonly string[]])[] = [
    [{}, ['X-A: v\r\n', 'x-a:v\r\n'], ['X-A: w\r\n', '', 'X-B: v\r\n', 'XX-A: v\r\n']],
    [{ ignoreCase: true }, ['X-A: V\r\n'], ['X-A: vv\r\n']],
    [{ type: 'present' }, ['X-A: \r\n', 'X-A: anything\r\n'], ['']],
    [{ type: 'prefix' }, ['X-A: vw\r\n'], ['X-A: wv\r\n']],
    [{ type: 'suffix' }, ['X-A: wv\r\n'], ['X-A: vw\r\n']],
    [{ type: 'contains' }, ['X-A: wvw\r\n'], ['X-A: w\r\n']],
    [{ type: 'regex', value: 'v+' }, ['X-A: vvv\r\n'], ['X-A: vvw\r\n']],
    [{ value: 'v,w' }, ['X-A: v\r\nX-A: w\r\n'], ['X-A: v\r\n']],
    [{ invert: true }, ['', 'X-A: w\r\n'], ['X-A: v\r\n']],
    [{ type: 'present', invert: true }, [''], ['X-A: v\r\n']],
  ];
  for (const [more, inside, outside] of cases) {
    const routed = routedBy(header(more));
    for (const fields of inside) assert.equal(routed.send('/', fields).cluster, 'special', fields);
    for (const fields of outside) assert.equal(routed.send('/', fields).cluster, 'rest', fields);
  }
});

test('a path that can be read in two ways is refused where routes look at paths, and goes on as it is elsewhere', () => {
  const looking = routedBy(path('prefix', '/admin'));
  assert.equal(looking.send('/a/%2e%2e%2fadmin').cluster, '');
  assert.match(looking.client.take(), /^HTTP\/1\.1 400 [\s\S]*x-starling-reason: bad-request/);
  assert.match(looking.send('/x/..//admin?q=/../').request, /^GET \/admin\?q=\/..\/ HTTP/);
  const blind = routedBy(header({}));
  assert.match(blind.send('/a/%2e%2e%2fadmin').request, /^GET \/a\/%2e%2e%2fadmin HTTP/);
});

test('a split sends each cluster its share, within one percent over many requests', () => {
  const routed = new Routed([
    { ...plainRoute(''), match: match({}), split: [split('stable', 9_000), split('canary', 1_000)] },
  ]);
  let canary = 0;
  const count = 20_000;
  for (let i = 0; i < count; i++) if (routed.send('/').cluster === 'canary') canary++;
  assert.ok(Math.abs(canary / count - 0.1) < 0.01, `${canary} of ${count}`);
});

test('when a cluster has nobody to offer, the next one in the order of failover is asked', () => {
  const routed = new Routed([], ['rest', 'second'], ['second', 'third']);
  assert.equal(routed.send('/').cluster, 'third');
});

test('when the one endpoint of a cluster cannot be reached, the request goes to the next cluster', () => {
  const routed = new Routed([], [], ['second']);
  routed.client.receive('POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 2\r\n\r\nhi');
  routed.engine.server.break('connect-failure');
  assert.deepEqual(
    routed.engine.dialed.map(({ id }) => id),
    ['rest', 'second'],
  );
  assert.match(routed.engine.server.take(), /hi$/);
  routed.engine.server.receive(ok);
  assert.match(routed.client.take(), /^HTTP\/1\.1 200 /);
  assert.equal(routed.send('/').cluster, 'second', 'as long as the first one is avoided');
});

test('without anybody anywhere the refusal names the first cluster', () => {
  const routed = new Routed([], ['rest', 'second'], ['second']);
  assert.equal(routed.send('/').cluster, '');
  assert.match(routed.client.take(), /^HTTP\/1\.1 503 [\s\S]*no-healthy-upstream: rest/);
});

test('a prefix is replaced with no slash lost or doubled, and the query stays', () => {
  const cases: readonly (readonly [RequestMatch | null, string, string, string])[] = [
    [path('prefix', '/api'), '/', '/api/x?q=1', '/x?q=1'],
    [path('prefix', '/api/'), '/v2', '/api/x', '/v2/x'],
    [path('prefix', '/api/'), '/v2/', '/api/x', '/v2/x'],
    [path('prefix', '/api'), '/v2', '/api', '/v2'],
    [path('prefix', '/'), '/v2', '/x', '/v2/x'],
    [path('prefix', '/ap'), '/v', '/api', '/vi'],
    [path('exact', '/a'), '/b/c', '/a?x', '/b/c?x'],
    [path('regex', '/a.*'), '/b', '/a/x', '/b'],
    [null, '/v2', '/x', '/v2/x'],
    [path('prefix', '/a'), '/b\r\nX-Bad: 1', '/a', '/b%0D%0AX-Bad:%201'],
  ];
  for (const [requestMatch, prefixRewrite, target, expected] of cases) {
    const routed = new Routed([{ ...plainRoute('special'), match: requestMatch, prefixRewrite }]);
    const { request } = routed.send(target);
    assert.equal(request.split('\r\n')[0], `GET ${expected} HTTP/1.1`);
  }
});

test('a redirect is answered at once, with what it leaves out as it was asked for', () => {
  const all = { status: 308, host: '', path: '', scheme: '' } as const;
  const cases = [
    [{ ...all, host: 'new.example' }, 'http://new.example/a?q=1'],
    [{ ...all, path: '/b' }, 'http://api/b?q=1'],
    [{ ...all, scheme: 'https' as const, path: '/b?c' }, 'https://api/b?c'],
    [{ ...all, path: '/b\r\nSet-Cookie: x' }, 'http://api/b%0D%0ASet-Cookie:%20x?q=1'],
  ] as const;
  for (const [redirect, location] of cases) {
    const routed = new Routed([{ ...plainRoute('special'), match: match({}), redirect }]);
    assert.equal(routed.send('/a?q=1').cluster, '');
    const answer = routed.client.take();
    assert.match(answer, /^HTTP\/1\.1 308 Permanent Redirect\r\n/);
    assert.equal(/\r\nlocation: (.*)\r\n/.exec(answer)?.[1], location);
    assert.equal(routed.client.end, null, 'the connection goes on');
  }
});

test('fields are removed, set and added, those of the route before those of the split', () => {
  const requestHeaders = {
    remove: ['x-gone'],
    set: [{ name: 'x-set', value: 'route' }],
    add: [{ name: 'x-add', value: '1' }],
  };
  const onSplit = {
    remove: [],
    set: [{ name: 'x-set', value: 'split' }],
    add: [{ name: 'x-add', value: '2' }],
  };
  const responseHeaders = { remove: ['server'], set: [], add: [{ name: 'x-by', value: 'starling' }] };
  const routed = new Routed([
    {
      ...plainRoute('special'),
      match: match({}),
      split: [split('special', 10_000, { requestHeaders: onSplit })],
      requestHeaders,
      responseHeaders,
    },
  ]);
  const { request } = routed.send('/', 'X-Gone: 1\r\nx-SET: client\r\nX-Add: 0\r\n');
  assert.equal(
    request,
    'GET / HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\nX-Add: 0\r\nx-add: 1\r\nx-set: split\r\nx-add: 2\r\n\r\n',
  );
  assert.equal(routed.client.take(), 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-by: starling\r\n\r\nok');
});

test('policy edits neither framing nor identity, and adds no line of its own making', () => {
  const edits = {
    remove: ['host', 'content-length', 'transfer-encoding'],
    set: [
      { name: 'x-forwarded-client-cert', value: 'URI=spiffe://root' },
      { name: 'x-starling-source', value: 'root' },
      { name: 'content-length', value: '0' },
    ],
    add: [
      { name: 'x-a', value: 'v\r\nx-b: w' },
      { name: 'x bad', value: 'v' },
    ],
  };
  const routed = new Routed([{ ...plainRoute('special'), match: match({}), requestHeaders: edits }]);
  const { request } = routed.send('/', 'Content-Length: 0\r\n');
  assert.equal(request, 'GET / HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\nContent-Length: 0\r\n\r\n');
});
