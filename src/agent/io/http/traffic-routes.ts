/** `/v1/mesh/stat` and `/v1/mesh/tap`: what goes through the proxy of this host. */
import { trafficReport } from '../../traffic.ts';
import { json, type Route } from './route.ts';
import { TapStream, tapFilterOf } from './tap-stream.ts';

const starlingRead = { method: 'GET', style: 'starling', access: 'read' } as const;

export const trafficRoutes: readonly Route[] = [
  {
    ...starlingRead,
    path: '/v1/mesh/stat',
    summary: 'Traffic through the proxy of this host, by source and destination; what was denied, by rule',
    answer: async ({ agent }) => {
      const stats = await agent.freshDataPlane();
      return json(stats === null ? null : trafficReport(stats));
    },
  },
  {
    ...starlingRead,
    path: '/v1/mesh/tap',
    summary:
      'Follows requests as they end on this host, as server-sent events `request`, and `lost` with a count of ' +
      'those missed; `status` is a status, a class such as 5xx, or a response flag such as UF',
    query: ['source', 'destination', 'path', 'status'],
    answer: ({ agent, streams }, { query }) => {
      const filter = tapFilterOf(query);
      const body = streams.keep(new TapStream((onTap) => agent.tap(filter, onTap)));
      return { body, contentType: 'text/event-stream', headers: { 'Cache-Control': 'no-store' } };
    },
  },
];
