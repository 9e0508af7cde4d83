/** `explain`: what becomes of a call, who says so, and what would change it. */
import type { Command } from 'commander';
import type { RateLimit, RetryPolicy } from '../../../proxy/policy.ts';
import type { ExplainedTarget, Explanation, Provenance } from '../../policy/explain.ts';
import { type CommonOptions, common, run } from './invocation.ts';
import { printable, type Tone, table, tinted } from './output.ts';
import { anotherHeader, destinationArgument, methodName, requestPath, serviceArgument } from './values.ts';

interface ExplainOptions extends CommonOptions {
  readonly method: string;
  readonly path: string;
  readonly header: readonly string[];
  readonly whyNot?: boolean;
}

const tones: { readonly [verdict in Explanation['verdict']]: Tone } = {
  forwarded: 'good',
  'partly-forwarded': 'warn',
  redirected: 'good',
  denied: 'bad',
  refused: 'bad',
};

/** Exit 1 when not all of the call would be forwarded. */
async function explain(source: string, destination: string, options: ExplainOptions): Promise<void> {
  await run(options, async (invocation) => {
    const query = new URLSearchParams({ source, destination, method: options.method, path: options.path });
    for (const one of options.header) query.append('header', one.replace(/^([^:=]+)[:=]\s*/, '$1:'));
    if (options.whyNot === true) query.append('why-not', '');
    const answer = await invocation.client.get<Explanation>(`/v1/mesh/explain?${query}`);
    invocation.show(answer, () => textOf(answer));
    return isThrough(answer.verdict) ? 0 : 1;
  });
}

function isThrough(verdict: Explanation['verdict']): boolean {
  return verdict === 'forwarded' || verdict === 'redirected';
}

function textOf(answer: Explanation): string {
  const { call, verdict, why, changes } = answer;
  const lines = [
    `${tinted(verdict, tones[verdict])}: ${printable(why)}`,
    '',
    `call        ${call.method} ${printable(call.path)} of ${calledText(call)}, as ${answer.from} sees it`,
    `identity    ${answer.caller.spiffeId}${hostsText(answer.callerHosts)}`,
    ...destinationLines(answer),
    ...routeLines(answer),
    ...answer.targets.flatMap((target) => targetLines(answer, target)),
  ];
  if (changes !== null) lines.push('', ...changeLines(verdict, changes));
  return lines.join('\n');
}

function calledText({ destination, datacenter }: Explanation['call']): string {
  return datacenter === undefined ? destination : `${destination}@${datacenter}`;
}

function hostsText(hosts: readonly string[]): string {
  return hosts.length === 0 ? ' (no instance in the mesh)' : ` on ${hosts.join(', ')}`;
}

function destinationLines({ destination, protocolRule, records }: Explanation): string[] {
  if (destination === null) return [];
  const { service, protocol } = destination;
  const behind = new Set([`service-defaults/${service}`, protocolRule ?? '']);
  return [
    `destination ${service}, protocol ${protocol}${[...behind].map((rule) => writtenBy(records[rule])).join('')}`,
  ];
}

function routeLines({ route, records }: Explanation): string[] {
  if (route === null) return [];
  const { rule, redirect, fault, mirror, retry, timeouts } = route.route;
  const which =
    rule === '' ? 'the default, which matches everything' : `${rule}, ${route.index + 1} of ${route.of}`;
  const lines = [`route       ${which}${writtenBy(records[rule.replace(/#\d+$/, '')])}`];
  if (route.forwardedPath !== route.path)
    lines.push(`            ${printable(route.path)} becomes ${printable(route.forwardedPath)}`);
  if (redirect !== null) lines.push(`            answered by a redirect, ${redirect.status}`);
  if (fault?.delay) lines.push(`            ${fault.delay.percent} % are delayed by ${fault.delay.ms} ms`);
  if (fault?.abort) lines.push(`            ${fault.abort.percent} % are answered ${fault.abort.status}`);
  if (mirror !== null) lines.push(`            ${mirror.percent} % are copied to ${mirror.cluster}`);
  if (retry !== null) lines.push(`            ${retriesText(retry)}`);
  for (const [what, limitMs] of [
    ['to the end of the answer', timeouts.requestMs],
    ['for each try', timeouts.perTryMs],
    ['without a byte', timeouts.idleMs],
  ] as const)
    if (limitMs !== null && limitMs > 0) lines.push(`            at most ${limitMs} ms ${what}`);
  return lines;
}

function retriesText({ maxRetries }: RetryPolicy): string {
  if (maxRetries === 0) return 'never tried again';
  return maxRetries === 1 ? 'up to 1 retry' : `up to ${maxRetries} retries`;
}

function targetLines({ records }: Explanation, target: ExplainedTarget): string[] {
  const { share, rule, cluster, clusters, resolvers, authorization, endpoints, absent, breaker } = target;
  const part = share === 1 ? '' : `${percent(share)} `;
  const instead = cluster !== null && cluster !== clusters[0] ? ` instead of ${clusters[0]}` : '';
  const spare = clusters.slice(clusters.indexOf(cluster ?? '') + 1);
  const lines = [
    `target      ${part}${cluster ?? clusters[0] ?? 'nothing'}${instead}` +
      `${cluster === null || spare.length === 0 ? '' : `, after it ${spare.join(', ')}`}` +
      `${target.balance === null ? '' : `, balanced by ${target.balance}`}` +
      `${breaker === null || breaker === 'closed' ? '' : `, circuit ${breaker}`}` +
      [rule, ...resolvers].map((record) => writtenBy(records[record])).join(''),
    ...zoneLines(target),
    `intention   ${intentionText(authorization)}${writtenBy(records[authorization.rule ?? ''])}`,
    ...limitLines(target, records),
  ];
  if (endpoints.length > 0)
    lines.push(
      indented(
        table(
          ['ENDPOINT', 'ADDRESS', 'ZONE', 'WEIGHT', 'HEALTH', 'RTT', 'EXPECTED', 'IN FLIGHT'],
          endpoints.map((endpoint) => [
            printable(endpoint.host),
            `${endpoint.address}:${endpoint.port}`,
            printable(endpoint.zone === '' ? '-' : endpoint.zone),
            String(endpoint.weight),
            endpoint.seen?.ejected ? 'ejected' : endpoint.suspect ? 'suspect' : endpoint.health,
            `${milliseconds(endpoint.roundTripMs)}${endpoint.seen?.nearest === true ? ', nearest' : ''}`,
            milliseconds(endpoint.seen?.latencyMs ?? null),
            endpoint.seen === null ? '-' : String(endpoint.seen.inFlight),
          ]),
        ),
      ),
    );
  for (const { host, instance, why } of absent)
    lines.push(`            not ${printable(instance)} on ${printable(host)}: ${printable(why)}`);
  return lines;
}

/** What the zone of the host that answers keeps. */
function zoneLines({ cluster, zones }: ExplainedTarget): string[] {
  if (zones === null) return [];
  const { zone, capacityShare, callerShare, staying, spilling } = zones;
  const goes = spilling.map(
    (one) => `, ${percent(one.share)} goes to ${printable(one.zone || 'hosts of none')}`,
  );
  return [
    `zones       ${printable(zone)} has ${percent(capacityShare)} of ${cluster} and ${percent(callerShare)} of its callers: ` +
      `${percent(staying)} stays${goes.join('')}`,
  ];
}

/** What each host of the callee holds the call to. */
function limitLines({ service, limits }: ExplainedTarget, records: Explanation['records']): string[] {
  if (limits === null) return [];
  const { maxInboundConnections, instance, caller, routes } = limits;
  const rate = (what: string, { requestsPerSecond, burst }: RateLimit) =>
    `${what} ${requestsPerSecond} requests/s, ${burst} at once`;
  const lines = [
    ...(caller === null ? [] : [rate(caller.source === '*' ? 'each other caller' : caller.source, caller)]),
    ...(instance === null ? [] : [rate('all callers', instance)]),
    ...(maxInboundConnections === null ? [] : [`${maxInboundConnections} connections of all callers`]),
    ...routes.map(
      (route) =>
        `${rate(`path ${route.path.type} ${printable(route.path.value)}`, route)}${route.holds ? ', as here' : ''}`,
    ),
  ];
  const [first, ...others] = lines;
  return [
    `limits      on each host: ${first}${others.map((line) => `\n            ${line}`).join('')}` +
      writtenBy(records[`service-defaults/${service}`]),
  ];
}

function intentionText({
  allowed,
  rule,
  source,
  destination,
  permission,
  isLayer7,
}: ExplainedTarget['authorization']): string {
  const word = allowed ? tinted('allowed', 'good') : tinted('denied', 'bad');
  if (rule === null) return `${word} by the default of the mesh, no intention matches`;
  const which = !isLayer7
    ? ''
    : permission === null
      ? ', no permission matches'
      : `, permission ${permission + 1}`;
  return `${word} by ${rule} (${source} -> ${destination}${which})`;
}

function writtenBy(record: Provenance | undefined): string {
  if (record === undefined) return '';
  const who = record.isFirstOperator ? 'the first operator' : 'operator';
  const at = new Date(record.writtenAt).toISOString();
  const here =
    record.reachedAt === null ? 'before this agent started' : new Date(record.reachedAt).toISOString();
  return `\n              ${record.record}: written ${at}, signed by ${who} ${record.author.slice(0, 8)}, here ${here}`;
}

function changeLines(
  verdict: Explanation['verdict'],
  changes: NonNullable<Explanation['changes']>,
): string[] {
  if (isThrough(verdict)) return ['nothing stands in its way'];
  if (changes.length === 0) return ['nothing that policy can say would change this'];
  return changes.flatMap(({ change, command, then }) => [
    `to let it through: ${printable(change)}${triedText(then)}`,
    ...(command === null ? [] : [`  ${command}`]),
  ]);
}

function triedText(then: Explanation['verdict'] | null): string {
  if (then === null) return '';
  const isEnough = isThrough(then) || then === 'partly-forwarded';
  return isEnough ? ` (tried out: ${then})` : ` (tried out: by itself still ${then})`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2).replace(/\.?0+$/, '')} %`;
}

function milliseconds(value: number | null): string {
  return value === null ? '-' : `${value.toFixed(1)}ms`;
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, '            ');
}

export function addExplainCommand(program: Command): void {
  common(
    program
      .command('explain')
      .description('what becomes of a call, by whose word, and what would let it through')
      .addArgument(serviceArgument('<source>', 'the calling service'))
      .addArgument(destinationArgument('<destination>', 'the service called, or SERVICE@DATACENTER'))
      .option('--method <method>', 'the request method', methodName, 'GET')
      .option('--path <path>', 'the request path', requestPath, '/')
      .option('--header <name=value>', 'a request header, as often as needed', anotherHeader, [])
      .option('--why-not', 'propose the smallest change that would let it through'),
  ).action(explain);
}
