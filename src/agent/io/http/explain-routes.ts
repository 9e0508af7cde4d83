/** `/v1/mesh/explain`: what becomes of a call, asked of any host. */
import { Fault } from '../../../core.ts';
import type { Call } from '../../../proxy/explain.ts';
import type { HeaderValue } from '../../../proxy/policy.ts';
import { serviceNamePattern } from '../../kinds.ts';
import { explain } from '../../policy/explain.ts';
import { type ApiRequest, json, needed, type Route, switchedOn } from './route.ts';

const methodPattern = /^[A-Za-z]{1,32}$/;
/** Origin-form, as it stands in a request line. */
const pathPattern = /^\/[!-~]{0,4095}$/;
const headerNamePattern = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
const headerValuePattern = /^[\t -~]{0,1024}$/;
const maxHeaders = 64;

function wanted(request: ApiRequest, name: string, pattern: RegExp, otherwise: string, what: string): string {
  const value = request.query.get(name) || otherwise;
  if (!pattern.test(value)) throw new Fault('bad-query', `must be ${what}`, { field: name });
  return value;
}

/** `?header=name:value`, as often as there are headers. */
function headersOf(request: ApiRequest): HeaderValue[] {
  const given = request.query.getAll('header');
  if (given.length > maxHeaders)
    throw new Fault('bad-query', `more than ${maxHeaders} headers`, { field: 'header' });
  return given.map((text) => {
    const colon = text.indexOf(':');
    const name = text.slice(0, Math.max(colon, 0));
    const value = text.slice(colon + 1).trim();
    if (!headerNamePattern.test(name) || !headerValuePattern.test(value))
      throw new Fault('bad-query', 'must be name:value', { field: 'header' });
    return { name: name.toLowerCase(), value };
  });
}

/** `api`, or `api@dc2` for that of another datacenter. */
function destinationOf(request: ApiRequest): Pick<Call, 'destination' | 'datacenter'> {
  const [destination = '', datacenter] = needed(request, 'destination').split('@', 2);
  if (
    !serviceNamePattern.test(destination) ||
    (datacenter !== undefined && !serviceNamePattern.test(datacenter))
  )
    throw new Fault('bad-query', 'must be a service name, or SERVICE@DATACENTER', { field: 'destination' });
  return datacenter === undefined ? { destination } : { destination, datacenter };
}

function callOf(request: ApiRequest): Call {
  needed(request, 'source');
  return {
    source: wanted(request, 'source', serviceNamePattern, '', 'a service name'),
    ...destinationOf(request),
    method: wanted(request, 'method', methodPattern, 'GET', 'a method').toUpperCase(),
    path: wanted(request, 'path', pathPattern, '/', 'a path that begins with a slash'),
    headers: headersOf(request),
  };
}

export const explainRoutes: readonly Route[] = [
  {
    method: 'GET',
    style: 'starling',
    access: 'read',
    path: '/v1/mesh/explain',
    summary:
      'What becomes of a call from `?source` to `?destination` (`?method`, `?path`, `?header=name:value`): the route, ' +
      'split, endpoints and intention, with who wrote each and when; `?why-not` proposes what would let it through',
    query: ['source', 'destination', 'method', 'path', 'header', 'why-not'],
    answer: async ({ agent }, request) => {
      const call = callOf(request);
      const whyNot = switchedOn(request, 'why-not');
      await agent.freshDataPlane();
      return json(explain(agent, call, whyNot));
    },
  },
];
