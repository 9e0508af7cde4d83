/** Draws distributions as an SVG: one cumulative curve for each series over a logarithmic axis, panel by panel. */

export interface Series {
  readonly name: string;
  /** In the panel's unit. */
  readonly values: readonly number[];
}

/** Series of one unit, drawn over one axis. */
export interface Panel {
  readonly unit: 'ms' | 'us' | 'B';
  readonly series: readonly Series[];
}

const width = 760;
const titleHeight = 40;
const panelHeight = 320;
const margin = { left: 60, right: 20, top: 10, bottom: 64 };
const plotWidth = width - margin.left - margin.right;
const plotHeight = panelHeight - margin.top - margin.bottom;
const colours = ['#1f6f8b', '#c8553d', '#588b3a', '#7a4ea3'];
/** A curve needs no more points than the plot has pixels. */
const pointsMax = 400;

/** Maps a value and a share of all values to the picture. */
interface Axes {
  readonly x: (value: number) => number;
  readonly y: (share: number) => number;
  readonly decades: readonly number[];
}

/** What share of `values` is at most x, for every x; empty series and panels are left out. */
export function distributionPlot(title: string, panels: readonly Panel[]): string {
  const drawn = panels
    .map(({ unit, series }) => ({ unit, series: series.filter(({ values }) => values.length > 0) }))
    .filter(({ series }, index) => series.length > 0 || index === 0);
  const height = titleHeight + drawn.length * panelHeight;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${margin.left}" y="24" font-size="15">${escapeXml(title)}</text>`,
    ...drawn.flatMap((panel, index) => panelOf(panel, titleHeight + index * panelHeight)),
    '</svg>',
    '',
  ].join('\n');
}

function panelOf({ unit, series }: Panel, top: number): string[] {
  const axes = axesOf(series, top + margin.top);
  return [
    ...grid(unit, axes),
    ...series.map((one, index) => curve(one, colours[index % colours.length]!, axes)),
    ...series.map((one, index) => legend(one, index, top + panelHeight - 22)),
  ];
}

/** From the decade below the least value to the one above the largest, never below 1. */
function axesOf(series: readonly Series[], top: number): Axes {
  let least = Number.POSITIVE_INFINITY;
  let most = 1;
  for (const { values } of series)
    for (const value of values) {
      least = Math.min(least, Math.max(1, value));
      most = Math.max(most, value);
    }
  const first = Number.isFinite(least) ? Math.floor(Math.log10(least)) : 0;
  const last = Math.max(first + 1, Math.ceil(Math.log10(most)));
  const scale = plotWidth / (last - first);
  return {
    x: (value) => margin.left + (Math.log10(Math.max(1, value)) - first) * scale,
    y: (share) => top + (1 - share) * plotHeight,
    decades: Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i)),
  };
}

function grid(unit: Panel['unit'], { x, y, decades }: Axes): string[] {
  const lines: string[] = [];
  for (const value of decades) {
    const at = x(value).toFixed(1);
    lines.push(
      `<line x1="${at}" x2="${at}" y1="${y(1)}" y2="${y(0)}" stroke="#dddddd"/>`,
      `<text x="${at}" y="${y(0) + 16}" text-anchor="middle">${tickLabel(value, unit)}</text>`,
    );
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1])
    lines.push(
      `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(share)}" y2="${y(share)}" stroke="#dddddd"/>`,
      `<text x="${margin.left - 8}" y="${y(share) + 4}" text-anchor="end">${share * 100} %</text>`,
    );
  return lines;
}

function tickLabel(value: number, unit: Panel['unit']): string {
  if (unit === 'us') return value < 1_000 ? `${value} us` : `${value / 1_000} ms`;
  if (unit === 'ms') return value < 1_000 ? `${value} ms` : `${value / 1_000} s`;
  if (value < 1_000) return `${value} B`;
  return value < 1_000_000 ? `${value / 1_000} kB` : `${value / 1_000_000} MB`;
}

function curve({ values }: Series, colour: string, { x, y }: Axes): string {
  const sorted = [...values].sort((a, b) => a - b);
  const stride = Math.max(1, Math.floor(sorted.length / pointsMax));
  const points: string[] = [`${x(sorted[0]!).toFixed(1)},${y(0).toFixed(1)}`];
  for (let i = 0; i < sorted.length; i += stride)
    points.push(`${x(sorted[i]!).toFixed(1)},${y((i + 1) / sorted.length).toFixed(1)}`);
  points.push(`${x(sorted.at(-1)!).toFixed(1)},${y(1).toFixed(1)}`);
  return `<polyline points="${points.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`;
}

function legend({ name, values }: Series, index: number, top: number): string {
  const left = margin.left + index * 230;
  const colour = colours[index % colours.length]!;
  return `<rect x="${left}" y="${top - 10}" width="12" height="12" fill="${colour}"/><text x="${left + 18}" y="${top}">${escapeXml(name)} (${values.length})</text>`;
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
