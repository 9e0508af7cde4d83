/**
 * Traffic in Prometheus' text form under the names and labels of Istio's standard metrics, so that dashboards made
 * for those work here. Histograms are not told apart by response code: their buckets would make most of all series.
 */
import type { TrafficRow } from '../dataplane.ts';
import { flagText } from './flags.ts';
import {
  cumulative,
  durationLayout,
  type HistogramCounts,
  type HistogramLayout,
  istioBounds,
  sizeLayout,
} from './histogram.ts';
import { noGrpcStatus } from './outcomes.ts';
import { mergeRoutes } from './rows.ts';

/** Kubernetes' namespace stands in every dashboard; SPIFFE IDs of this mesh name it too. */
const namespace = 'default';
const unknown = 'unknown';

/** The whole of it. `domain` is the DNS suffix of the mesh. */
export function trafficText(rows: readonly TrafficRow[], domain: string): string {
  const merged = mergeRoutes(rows).map((row) => ({ row, labels: labelsOf(row, domain) }));
  const requests = merged.filter(({ row }) => row.protocol !== 'tcp');
  const connections = merged.filter(({ row }) => row.protocol === 'tcp');
  const page = new Page();
  page.heading('istio_requests_total', 'counter', 'Requests by how they ended.');
  for (const { row, labels } of requests)
    for (const response of row.responses)
      page.sample('istio_requests_total', `${labels},${outcomeLabels(row, response)}`, response.count);
  page.histograms(
    'istio_request_duration_milliseconds',
    'Duration of requests.',
    requests,
    ({ durations }) => ({
      layout: durationLayout,
      counts: durations,
      scale: 1000,
    }),
  );
  page.histograms('istio_request_bytes', 'Sizes of requests, heads included.', requests, (row) => ({
    layout: sizeLayout,
    counts: row.requestSizes,
    scale: 1,
  }));
  page.histograms('istio_response_bytes', 'Sizes of responses, heads included.', requests, (row) => ({
    layout: sizeLayout,
    counts: row.responseSizes,
    scale: 1,
  }));
  connectionText(page, connections);
  return page.text();
}

interface Labelled {
  readonly row: TrafficRow;
  readonly labels: string;
}

function connectionText(page: Page, connections: readonly Labelled[]): void {
  const each = (name: string, help: string, valueIn: (row: TrafficRow) => number): void => {
    page.heading(name, 'counter', help);
    for (const { row, labels } of connections)
      page.sample(name, `${labels},response_flags="-"`, valueIn(row));
  };
  each('istio_tcp_sent_bytes_total', 'Bytes sent to clients.', ({ bytesReceived }) => bytesReceived);
  each('istio_tcp_received_bytes_total', 'Bytes received from clients.', ({ bytesSent }) => bytesSent);
  each('istio_tcp_connections_opened_total', 'Connections that began.', ({ opened }) => opened);
  const name = 'istio_tcp_connections_closed_total';
  page.heading(name, 'counter', 'Connections that ended, by how.');
  for (const { row, labels } of connections) {
    const byFlags = new Map<number, number>();
    for (const { flags, count } of row.responses) byFlags.set(flags, (byFlags.get(flags) ?? 0) + count);
    for (const [flags, count] of byFlags)
      page.sample(name, `${labels},response_flags="${flagText(flags)}"`, count);
  }
}

function labelsOf(row: TrafficRow, domain: string): string {
  const { reporter, source, destination, subset } = row;
  const host = destination === unknown || destination === 'other' ? destination : `${destination}.${domain}`;
  // As Istio: the caller's side cannot tell for sure how the callee's side takes it.
  const security = reporter === 'destination' ? 'mutual_tls' : unknown;
  return [
    label('reporter', reporter),
    label('source_workload', source || unknown),
    label('source_workload_namespace', namespace),
    label('source_principal', row.sourcePrincipal || unknown),
    label('destination_service', host),
    label('destination_service_name', destination),
    label('destination_service_namespace', namespace),
    label('destination_workload', destination),
    label('destination_workload_namespace', namespace),
    label('destination_principal', row.destinationPrincipal || unknown),
    label('destination_version', subset || unknown),
    label('request_protocol', row.protocol),
    label('connection_security_policy', security),
  ].join(',');
}

function outcomeLabels(row: TrafficRow, response: TrafficRow['responses'][number]): string {
  const { status, flags, grpcStatus } = response;
  const grpc = row.protocol === 'grpc' && grpcStatus !== noGrpcStatus ? String(grpcStatus) : '';
  return [
    label('response_code', status === 0 ? 'other' : String(status)),
    label('response_flags', flagText(flags)),
    label('grpc_response_status', grpc),
  ].join(',');
}

function label(name: string, value: string): string {
  const escaped = value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  return `${name}="${escaped}"`;
}

/** Lines of text; families in the order in which they are written. */
class Page {
  private readonly lines: string[] = [];

  heading(name: string, type: 'counter' | 'histogram', help: string): void {
    this.lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  }

  sample(name: string, labels: string, value: number): void {
    this.lines.push(`${name}{${labels}} ${value}`);
  }

  /** `scale` is how much of the counted unit makes one of the unit shown. */
  histograms(
    name: string,
    help: string,
    all: readonly Labelled[],
    read: (row: TrafficRow) => { layout: HistogramLayout; counts: HistogramCounts; scale: number },
  ): void {
    this.heading(name, 'histogram', help);
    for (const { row, labels } of all) {
      const { layout, counts, scale } = read(row);
      const totals = cumulative(layout, counts);
      totals.forEach((total, index) => {
        this.sample(`${name}_bucket`, `${labels},le="${istioBounds[index] ?? '+Inf'}"`, total);
      });
      this.sample(`${name}_sum`, labels, counts.sum / scale);
      this.sample(`${name}_count`, labels, totals.at(-1)!);
    }
  }

  text(): string {
    return `${this.lines.join('\n')}\n`;
  }
}
