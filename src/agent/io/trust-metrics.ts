/** What is counted of certificates and of the root that they come from. */
import type { CaStatus } from '../ca/ca-port.ts';
import { issuanceBoundsMs } from '../ca/issuance-stats.ts';
import type { AgentCore } from '../core.ts';
import { type Add, histogramLines, single } from './samples.ts';

export interface TrustSources {
  readonly core: AgentCore;
  readonly now: () => number;
}

export function trustMetrics(add: Add, { core, now }: TrustSources): void {
  identityMetrics(add, { core, now });
  authorityMetrics(add, { core, now });
  add(
    'counter',
    'starling_issuance_total',
    'Requests of this host for certificates by how they ended: issued, or the code of the refusal.',
    ['code'],
    () =>
      [...(core.credentials?.issuance.outcomes ?? [])].map(([code, value]) => ({ labels: { code }, value })),
  );
  add(
    'gauge',
    'starling_ca_log_equivocations',
    'Trustees that signed two heads of their issuance log which cannot be of one log.',
    [],
    () => single((core.credentials?.alarms() ?? []).filter(({ evidence }) => evidence !== '').length),
  );
}

function identityMetrics(add: Add, { core, now }: TrustSources): void {
  add(
    'gauge',
    'starling_certificate_expiry_seconds',
    'Time left until a service’s certificate expires; negative once it has.',
    ['service'],
    () =>
      core
        .identities(now())
        .map(({ service, notAfter }) => ({ labels: { service }, value: (notAfter - now()) / 1000 })),
  );
  add(
    'gauge',
    'starling_certificate_problems',
    'Services whose certificate is missing or could not be renewed.',
    [],
    () => single(core.identities(now()).filter(({ problem }) => problem !== null).length),
  );
}

function authorityMetrics(add: Add, { core, now }: TrustSources): void {
  const gauge = (name: string, help: string, read: (ca: CaStatus) => number): void =>
    add('gauge', name, help, [], () => {
      const ca = core.credentials?.ca(now());
      return ca === undefined ? [] : single(read(ca));
    });
  gauge('starling_ca_epoch', 'Number of the epoch in force.', ({ epoch }) => epoch);
  gauge('starling_ca_trustees', 'Trustees of the epoch in force.', ({ trustees }) => trustees.length);
  gauge('starling_ca_trustees_alive', 'Trustees of the epoch in force that are here.', ({ alive }) => alive);
  gauge('starling_ca_threshold', 'How many trustees must sign.', ({ threshold }) => threshold);
  gauge('starling_ca_quorum', '1 while enough trustees are here to sign.', ({ quorum }) => Number(quorum));
  gauge('starling_ca_trustee', '1 where this host is a trustee.', ({ isTrustee }) => Number(isTrustee));
  gauge('starling_ca_share_held', '1 where this host holds a share of the root.', ({ holdsShare }) =>
    Number(holdsShare),
  );
  add('gauge', 'starling_ca_roots', 'Roots by state.', ['state'], () => {
    const roots = core.credentials?.ca(now()).roots ?? [];
    const count = (state: string): number => roots.filter((root) => root.state === state).length;
    return ['next', 'active', 'old', 'retired'].map((state) => ({ labels: { state }, value: count(state) }));
  });
}

/** The duration of requests that were answered with a certificate, in Prometheus' text form. */
export function issuanceText({ core }: TrustSources): string {
  const name = 'starling_issuance_duration_milliseconds';
  const lines = [`# HELP ${name} From asking for a certificate to having it.`, `# TYPE ${name} histogram`];
  const stats = core.credentials?.issuance;
  if (stats !== undefined)
    lines.push(...histogramLines(name, '', issuanceBoundsMs, stats.buckets, stats.sumMs));
  return `${lines.join('\n')}\n`;
}
