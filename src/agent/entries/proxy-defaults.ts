/** `proxy-defaults`: what holds for every service of the mesh that says nothing else, and what proxies report. */
import type { ProxyDefaultsPolicy } from '../../proxy/policy.ts';
import { entryFields } from './common.ts';
import { amount, beyond, described, flag, object, type Read, refused, text } from './form.ts';
import { elsewhere, protocol } from './service-defaults.ts';

const share = amount({ least: 0, most: 1, fractional: true });
const onlyName = text({ pattern: /^global$/, what: 'a name: the only one is "global"' });

const accessLogs = object(
  {
    Enabled: flag(),
    Sample: beyond(share, 'Share of requests that are logged, 0 to 1; failures are logged always.'),
    Type: refused('proxies log where their agent logs', ['stdout']),
    Path: refused('proxies log where their agent logs'),
    JSONFormat: refused('the format is fixed: --log-format of the agent'),
    TextFormat: refused('the format is fixed: --log-format of the agent'),
    DisableListenerLogs: refused('requests are logged, listeners are not'),
  },
  {
    check(read, fields) {
      if (read.Sample !== undefined && !read.Enabled)
        throw fields.fault('without-effect', 'Sample', 'needs Enabled');
    },
  },
);

const tracing = object(
  {
    Sample: described(share, 'Share of traces that begin here and are exported, 0 to 1.'),
    Endpoint: described(
      text({
        most: 512,
        pattern: /^https?:\/\/[^\s\p{Cc}/?#]+(\/[^\s\p{Cc}?#]*)?$/u,
        what: 'an http or https URL',
      }),
      'Where spans are sent as OTLP/HTTP JSON.',
    ),
  },
  {
    check(read, fields) {
      if (read.Sample !== undefined && read.Sample > 0 && read.Endpoint === undefined)
        throw fields.missing('Endpoint', 'is required: spans are sent nowhere without it');
    },
  },
);

/** Consul's field for what only proxies know, whose keys are in snake_case. */
const config = object({ protocol });

export const proxyDefaults = object({
  ...entryFields('proxy-defaults', onlyName),
  Config: config,
  AccessLogs: accessLogs,
  Tracing: beyond(tracing, 'Trace headers are passed on in any case.'),
  ...elsewhere,
  FailoverPolicy: refused('targets are tried in the order in which they are written', [{ Mode: 'default' }]),
  PrioritizeByLocality: refused('is LoadBalancer.ZoneAware of a service-resolver here', [
    { Mode: 'failover' },
  ]),
});

export type ProxyDefaults = Read<typeof proxyDefaults>;

export function proxyDefaultsPolicy(entry: ProxyDefaults): ProxyDefaultsPolicy {
  const { AccessLogs, Tracing } = entry;
  return {
    rule: `${entry.Kind}/${entry.Name}`,
    protocol: entry.Config?.protocol ?? 'auto',
    accessLog: AccessLogs?.Enabled ? { sample: AccessLogs.Sample ?? 1 } : null,
    tracing: Tracing === undefined ? null : { sample: Tracing.Sample ?? 1, endpoint: Tracing.Endpoint ?? '' },
  };
}
