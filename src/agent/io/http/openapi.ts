/** Describes the route table as an OpenAPI 3.1 document: what is routed is what is documented. */
import type { Route } from './route.ts';

const blockingQuery: readonly string[] = ['index', 'wait', 'stale', 'consistent', 'cached'];

const accessNotes: { readonly [access: string]: string } = {
  read: 'Callers on this host; others with an operator token.',
  host: "Root, the agent's own user, or an operator token.",
  mesh: 'An operator token.',
  service: "Root, the agent's own user, the user that the service's definition names, or an operator token.",
};

/** `/v1/agent/service/:id` as `/v1/agent/service/{id}`. */
function templated(path: string): string {
  return path.replace(/:([A-Za-z]+)/g, '{$1}');
}

function parameters(route: Route): object[] {
  const inPath = [...route.path.matchAll(/:([A-Za-z]+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const names = [
    ...(route.query ?? []),
    ...(route.filter === undefined ? [] : ['filter']),
    ...(route.topic === undefined ? [] : blockingQuery),
  ];
  return [...inPath, ...names.map((name) => ({ name, in: 'query', schema: { type: 'string' } }))];
}

function operation(route: Route): object {
  const access = typeof route.access === 'string' ? route.access : 'service';
  const failure = route.style === 'starling' ? 'application/json' : 'text/plain';
  return {
    summary: route.summary,
    description: route.accessNote ?? accessNotes[access],
    tags: [route.path.split('/')[2] ?? 'operation'],
    parameters: parameters(route),
    ...(route.bodySchema === undefined
      ? {}
      : { requestBody: { content: { 'application/json': { schema: route.bodySchema } } } }),
    ...(access === 'mesh' ? { security: [{ operator: [] }, { consulToken: [] }] } : {}),
    responses: {
      200: { description: 'Done' },
      default: { description: 'Refused', content: { [failure]: {} } },
    },
  };
}

export function openApiDocument(routes: readonly Route[], version: string): object {
  const paths: { [path: string]: { [method: string]: object } } = {};
  for (const route of routes) {
    const path = templated(route.path);
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Starling agent', version, description: 'The local API of one agent of the mesh.' },
    paths,
    components: {
      securitySchemes: {
        operator: { type: 'http', scheme: 'bearer' },
        consulToken: { type: 'apiKey', in: 'header', name: 'X-Consul-Token' },
      },
    },
  };
}
