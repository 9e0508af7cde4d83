/** What is counted of membership, replication and the connections between agents. */
import type { HostId } from '../../core.ts';
import { sequencesOf } from '../../gossip/replica/sequence.ts';
import { type DeltaLatencyStats, deltaLatencyBoundsMs } from '../../gossip/spread/delta-latency.ts';
import type { AgentCore } from '../core.ts';
import { shortId } from '../kinds.ts';
import type { MetricSources } from './metrics.ts';
import { type Add, byName, type Counts, histogramLines, type Samples, single } from './samples.ts';

function withoutBytes({ bytesReceived: _in, bytesSent: _out, ...frames }: Counts): Counts {
  return frames;
}

export function gossipMetrics(
  add: Add,
  { core, transport, store, writeMs, waitingQueries, logLinesLost }: MetricSources,
): void {
  const stats = () => core.gossip.stats();
  add('gauge', 'starling_members', 'Hosts by membership state, this one included.', ['state'], () => {
    const counts = { alive: 0, suspect: 0, down: 0, left: 0 };
    for (const { state } of core.catalog.allHosts()) counts[state]++;
    return byName('state', counts);
  });
  add(
    'counter',
    'starling_membership_events_total',
    'Probes, suspicions and refutations by outcome.',
    ['event'],
    () => {
      const { membership } = stats();
      const { localHealth, probeOutcomes, withoutDatagrams, throughHelpers, discredited, ...events } =
        membership;
      return byName('event', events);
    },
  );
  add(
    'gauge',
    'starling_local_health',
    'Lifeguard: 0 is well, more means that this agent itself is slow.',
    [],
    () => single(stats().membership.localHealth),
  );
  add('counter', 'starling_deltas_total', 'Batches of records by direction.', ['direction'], () =>
    byName('direction', { in: stats().deltasIn, out: stats().deltasOut }),
  );
  add('counter', 'starling_records_total', 'Records received by outcome.', ['outcome'], () => {
    const { recordsApplied, recordsKnown, recordsStale } = stats();
    return byName('outcome', { applied: recordsApplied, known: recordsKnown, stale: recordsStale });
  });
  add('counter', 'starling_records_refused_total', 'Records refused by reason.', ['reason'], () =>
    byName('reason', Object.fromEntries(stats().recordsRefused)),
  );
  add(
    'counter',
    'starling_values_malformed_total',
    'Values of admitted hosts that were not of their kind’s shape.',
    [],
    () => single(core.malformedValues),
  );
  add(
    'counter',
    'starling_introductions_total',
    'Introductions between hosts of which one was away when the other joined: sent, or received by what became of them.',
    ['outcome'],
    () => {
      const { taken, known, refused } = core.reception.introductions;
      return byName('outcome', { sent: core.outreach.sent, taken, known, refused });
    },
  );
  add(
    'counter',
    'starling_records_quarantined_total',
    'Records that this agent’s own code failed on; they count as absent.',
    [],
    () => single(core.knowledge.quarantine.total),
  );
  add(
    'counter',
    'starling_repeats_total',
    'What this host said once more because peers held otherwise, by what it was (records include that it is back after a goodbye, and that it is not gone) and what became of it.',
    ['what', 'outcome'],
    () => {
      const { deletions, deletionsRefused, records, recordsRefused } = stats().repeats;
      return [
        { labels: { what: 'deletion', outcome: 'written' }, value: deletions },
        { labels: { what: 'deletion', outcome: 'refused' }, value: deletionsRefused },
        { labels: { what: 'record', outcome: 'written' }, value: records },
        { labels: { what: 'record', outcome: 'refused' }, value: recordsRefused },
      ];
    },
  );
  add('gauge', 'starling_replica_records', 'Slots in the replica, deletions included.', [], () =>
    single(stats().records),
  );
  add('gauge', 'starling_replica_bytes', 'Bytes of all records in the replica.', [], () =>
    single(stats().recordBytes),
  );
  add('counter', 'starling_sync_bytes_total', 'Anti-entropy by direction.', ['direction'], () =>
    byName('direction', { in: stats().syncBytesIn, out: stats().syncBytesOut }),
  );
  add('counter', 'starling_bad_frames_total', 'Frames and deltas that could not be read.', [], () =>
    single(stats().badFrames),
  );
  add('gauge', 'starling_connections', 'Connected peers.', [], () => single(transport().connections));
  add(
    'counter',
    'starling_connections_refused_total',
    'Connections of peers that are not admitted.',
    [],
    () => single(transport().refusedConnections),
  );
  add('counter', 'starling_frames_total', 'Frames between agents by what became of them.', ['event'], () =>
    byName('event', withoutBytes(transport().frames)),
  );
  add('counter', 'starling_frame_bytes_total', 'Bytes of frames between agents.', ['direction'], () => {
    const { bytesReceived = 0, bytesSent = 0 } = transport().frames;
    return byName('direction', { in: bytesReceived, out: bytesSent });
  });
  add('counter', 'starling_datagrams_total', 'Datagrams by what became of them.', ['event'], () =>
    byName('event', withoutBytes(transport().datagrams)),
  );
  add('counter', 'starling_datagram_bytes_total', 'Bytes of datagrams.', ['direction'], () => {
    const { bytesReceived = 0, bytesSent = 0 } = transport().datagrams;
    return byName('direction', { in: bytesReceived, out: bytesSent });
  });
  add('counter', 'starling_store_events_total', 'The data directory’s database.', ['event'], () =>
    byName('event', store()),
  );
  add(
    'gauge',
    'starling_store_write_milliseconds',
    'Bounds within which this share of the writes of the last minute or two reached the disk.',
    ['quantile'],
    () =>
      [0.5, 0.99].flatMap((quantile) => {
        const value = writeMs(quantile);
        return value === null ? [] : [{ labels: { quantile: String(quantile) }, value }];
      }),
  );
  add('gauge', 'starling_catalog_index', 'The agent-local index of blocking queries.', [], () =>
    single(core.catalog.index),
  );
  add('gauge', 'starling_blocking_queries', 'Queries that wait for a change.', [], () =>
    single(waitingQueries()),
  );
  add('counter', 'starling_log_lines_lost_total', 'Lines that could not be written to the log.', [], () =>
    single(logLinesLost()),
  );
  membershipMetrics(add, core, transport);
  replicaMetrics(add, core);
}

function membershipMetrics(add: Add, core: AgentCore, transport: MetricSources['transport']): void {
  add(
    'counter',
    'starling_probes_total',
    'Probes that ended, by why they were made and how they ended.',
    ['purpose', 'outcome'],
    () =>
      Object.entries(core.gossip.stats().membership.probeOutcomes).map(([kind, value]) => {
        const [purpose = '', outcome = ''] = kind.split(' ');
        return { labels: { purpose, outcome }, value };
      }),
  );
  add('gauge', 'starling_suspects', 'Members that this agent suspects now.', [], () =>
    single(core.catalog.allHosts().filter(({ state }) => state === 'suspect').length),
  );
  add('gauge', 'starling_queued', 'What waits between and inside agents.', ['queue'], () => {
    const { queued, thread } = transport();
    return byName('queue', { frames: queued.frames, reports: thread.waitingReports });
  });
  add('gauge', 'starling_queued_frame_bytes', 'Bytes of frames that wait for a stream.', [], () =>
    single(transport().queued.bytes),
  );
  add(
    'gauge',
    'starling_membership_lag_milliseconds',
    'How late timers of the membership thread fired, the worst of the last minute or two.',
    [],
    () => single(transport().thread.lagMs),
  );
}

/** Writers told of; the others hold less. */
const writersShown = 10;

function replicaMetrics(add: Add, { gossip: { replica }, catalog }: AgentCore): void {
  const nameOf = (author: HostId): string => catalog.host(author)?.value.name ?? shortId(author);
  const largest = () => replica.largestWriters(writersShown);
  const labelled = (what: 'bytes' | 'records'): Samples =>
    largest().map((writer) => ({
      labels: { writer: nameOf(writer.author), scope: writer.scope },
      value: writer[what],
    }));
  add(
    'gauge',
    'starling_replica_writer_bytes',
    'Bytes of the records of those who wrote most.',
    ['writer', 'scope'],
    () => labelled('bytes'),
  );
  add(
    'gauge',
    'starling_replica_writer_records',
    'Records of those who wrote most.',
    ['writer', 'scope'],
    () => labelled('records'),
  );
  add(
    'gauge',
    'starling_policy_gaps',
    'Numbers of an operator’s writes that no record held here carries: overwritten long ago, or withheld.',
    ['operator'],
    () =>
      sequencesOf(replica.policyVersions()).map(({ author, missing }) => ({
        labels: { operator: shortId(author) },
        value: missing,
      })),
  );
}

/** Counted by the core into buckets of its own: written out as they are. */
export function deltaLatencyText({ cumulative, sumMs }: DeltaLatencyStats): string {
  const name = 'starling_delta_latency_milliseconds';
  const lines = [
    `# HELP ${name} From a record’s writer to here, by both clocks, of records that came by delta.`,
    `# TYPE ${name} histogram`,
    ...histogramLines(name, '', deltaLatencyBoundsMs, cumulative, sumMs),
  ];
  return `${lines.join('\n')}\n`;
}
