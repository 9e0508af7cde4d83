/** `proxy-defaults`: what holds for every service of the mesh that says nothing else, and what proxies report. */
import type { AccessLogPolicy, ProxyDefaultsPolicy } from '../../proxy/policy.ts';
import { entryFields } from './common.ts';
import { amount, beyond, described, flag, object, type Read, refused, text, word } from './form.ts';
import { elsewhere, protocol } from './service-defaults.ts';

const share = amount({ least: 0, most: 1, fractional: true });
const onlyName = text({ pattern: /^global$/, what: 'a name: the only one is "global"' });

const accessLogs = object(
  {
    Enabled: flag(),
    Sample: beyond(share, 'Share of requests that are logged, 0 to 1; failures are logged always.'),
    Type: described(
      word(['stdout', 'stderr', 'file']),
      'Lines are appended to a file; without one they go where the agent logs, which is stderr.',
    ),
    Path: described(
      text({ most: 512, pattern: /^\/[^\p{Cc}]*[^\p{Cc}/]$/u, what: 'the absolute path of a file' }),
      'On every host; the file is opened anew when it was moved away.',
    ),
    JSONFormat: refused('lines are JSON, with fixed fields'),
    TextFormat: refused('lines are JSON, with fixed fields'),
    DisableListenerLogs: refused('requests are logged, listeners are not'),
  },
  {
    check(read, fields) {
      if (read.Sample !== undefined && !read.Enabled)
        throw fields.fault('without-effect', 'Sample', 'needs Enabled');
      if (read.Path !== undefined && read.Type !== 'file')
        throw fields.fault('without-effect', 'Path', 'needs the Type file');
      if (read.Path === undefined && read.Type === 'file')
        throw fields.missing('Path', 'is required where the Type is file');
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
      if (read.Endpoint !== undefined && !URL.canParse(read.Endpoint))
        throw fields.fault('invalid-field', 'Endpoint', 'is no URL: look at its port');
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
    accessLog: AccessLogs?.Enabled ? accessLogPolicy(AccessLogs) : null,
    tracing: Tracing === undefined ? null : { sample: Tracing.Sample ?? 1, endpoint: Tracing.Endpoint ?? '' },
  };
}

function accessLogPolicy({ Sample, Path }: Read<typeof accessLogs>): AccessLogPolicy {
  const sample = Sample ?? 1;
  return Path === undefined ? { sample } : { sample, file: Path };
}
