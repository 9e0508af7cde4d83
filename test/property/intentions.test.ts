/** Asking whether a call is allowed gives the answer that the proxy gives to the call itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseConfigEntry } from '../../src/agent/entries/entry.ts';
import { intentionsOf } from '../../src/agent/entries/service-intentions.ts';
import { policyViewOf } from '../../src/agent/entries/view.ts';
import { headOf, type ImaginedRequest } from '../../src/agent/policy/imagined-request.ts';
import { checkIntention } from '../../src/agent/policy/intentions.ts';
import type { StoredEntry } from '../../src/agent/port.ts';
import { Fault, seededRandom } from '../../src/core.ts';
import { compile } from '../../src/proxy/compile/compile.ts';
import { LocalService, ServiceLimits } from '../../src/proxy/io/inbound-service.ts';
import type { Plane } from '../../src/proxy/io/options.ts';
import type { LocalInstance } from '../../src/proxy/view.ts';
import { rawStoreOf } from '../support/policy.ts';

const services = ['api', 'web', 'job'] as const;
const party = fc.constantFrom(...services, '*');
const path = fc.constantFrom('/', '/a', '/a/b', '/admin');
const action = fc.constantFrom('allow', 'deny');
const method = fc.constantFrom('GET', 'POST');

const pathPart = fc.oneof(
  path.map((PathExact) => ({ PathExact })),
  path.map((PathPrefix) => ({ PathPrefix })),
  fc.constantFrom('/a.*', '/(a|b)+').map((PathRegex) => ({ PathRegex })),
);
const headerPart = fc
  .record({ Exact: fc.constantFrom('1', '2'), Invert: fc.boolean() })
  .map((test) => ({ Header: [{ Name: 'X-Team', ...test }] }));
const methodPart = method.map((one) => ({ Methods: [one] }));
const http = fc
  .tuple(pathPart, fc.option(headerPart, { nil: {} }), fc.option(methodPart, { nil: {} }))
  .map((parts): object => Object.assign({}, ...parts));
const permissions = fc.array(fc.record({ Action: action, HTTP: http }), { minLength: 1, maxLength: 3 });
const source = fc
  .tuple(
    party,
    fc.oneof(
      action.map((Action) => ({ Action })),
      permissions.map((all) => ({ Permissions: all })),
    ),
  )
  .map(([Name, said]) => ({ Name, ...said }));
const entry = fc
  .record({ Name: party, Sources: fc.array(source, { minLength: 1, maxLength: 3 }) })
  .map((fields) => ({ Kind: 'service-intentions', ...fields }));

const request: fc.Arbitrary<ImaginedRequest> = fc.record({
  method,
  path: fc.oneof(path, fc.constantFrom('/a/../admin', '/%61', '//a', '/a%2fb', '/admin?x=1')),
  headers: fc.array(
    fc.record({ name: fc.constantFrom('x-team', 'X-Team', 'x-other'), value: fc.constantFrom('1', '2') }),
    {
      maxLength: 2,
    },
  ),
});

/** Entries that an operator may write, the last of each destination. */
function written(inputs: readonly object[]): readonly StoredEntry['entry'][] {
  const byName = new Map<string, StoredEntry['entry']>();
  for (const input of inputs)
    try {
      const parsed = parseConfigEntry(input);
      byName.set(parsed.name, parsed.entry);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
    }
  return [...byName.values()];
}

const local = services.map(
  (service): LocalInstance => ({
    id: service,
    service,
    address: '127.0.0.1',
    port: 80,
    weight: 1,
    health: 'critical',
    inMesh: true,
    uid: null,
    upstreams: [],
  }),
);

// A service without endpoints needs no more of its data plane.
const plane = { context: { random: seededRandom(1) } } as unknown as Plane;

test('the check of an intention and the proxy of the service agree on every call', () => {
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 4 }),
      action,
      fc.array(fc.record({ from: fc.constantFrom(...services), to: fc.constantFrom(...services), request }), {
        minLength: 5,
        maxLength: 5,
      }),
      (inputs, defaultIntention, calls) => {
        const store = rawStoreOf(...written(inputs));
        const config = compile({
          trustDomain: 'flock.test',
          domain: 'mesh',
          host: 'a'.repeat(64),
          datacenter: 'dc1',
          zone: '',
          roundTrips: [],
          defaultIntention: defaultIntention as 'allow' | 'deny',
          inbound: { address: '127.0.0.1', port: 21000 },
          outbound: null,
          services: [],
          local,
          callers: [],
          intentions: intentionsOf(store.list('service-intentions')),
          policy: policyViewOf(store),
          identities: [],
          roots: [],
          denied: { hosts: [], serials: [] },
        });
        for (const { from, to, request: asked } of calls) {
          const inbound = config.inbound.services.find(({ service }) => service === to)!;
          const access = new LocalService(inbound, new ServiceLimits(), plane).accessOf(from);
          const { bytes, head } = headOf(asked, to);
          const isLetIn =
            access.type === 'allowed' && (access.admission?.refusal(bytes, head, 0) ?? null) === null;
          const verdict = checkIntention(store, config.inbound.services[0]!.defaultAction, from, to, asked);
          assert.equal(
            verdict.allowed,
            isLetIn,
            `${from} -> ${to} ${asked.method} ${asked.path} by ${verdict.rule}`,
          );
        }
      },
    ),
    { numRuns: 1000 },
  );
});
