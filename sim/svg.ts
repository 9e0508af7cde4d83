/** Draws distributions as an SVG: one cumulative curve for each series over a logarithmic time axis. */

export interface Series {
  readonly name: string;
  /** Milliseconds. */
  readonly values: readonly number[];
}

const width = 760;
const height = 380;
const margin = { left: 60, right: 20, top: 40, bottom: 70 };
const plotWidth = width - margin.left - margin.right;
const plotHeight = height - margin.top - margin.bottom;
const colours = ['#1f6f8b', '#c8553d', '#588b3a', '#7a4ea3'];
/** A curve needs no more points than the plot has pixels. */
const pointsMax = 400;

/** What share of `values` is at most x, for every x; null series are left out. */
export function distributionPlot(title: string, series: readonly Series[]): string {
  const drawn = series.filter(({ values }) => values.length > 0);
  const all = drawn.flatMap(({ values }) => values.map((value) => Math.max(1, value)));
  const highest = all.reduce((most, value) => Math.max(most, value), 10);
  const decades = Math.ceil(Math.log10(highest));
  const x = (value: number): number => margin.left + (Math.log10(Math.max(1, value)) / decades) * plotWidth;
  const y = (share: number): number => margin.top + (1 - share) * plotHeight;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${margin.left}" y="24" font-size="15">${escapeXml(title)}</text>`,
    ...grid(decades, x, y),
    ...drawn.map((one, index) => curve(one, colours[index % colours.length]!, x, y)),
    ...drawn.map((one, index) => legend(one, index, colours[index % colours.length]!)),
    '</svg>',
    '',
  ].join('\n');
}

function grid(decades: number, x: (value: number) => number, y: (share: number) => number): string[] {
  const lines: string[] = [];
  for (let decade = 0; decade <= decades; decade++) {
    const at = x(10 ** decade).toFixed(1);
    lines.push(
      `<line x1="${at}" x2="${at}" y1="${y(1)}" y2="${y(0)}" stroke="#dddddd"/>`,
      `<text x="${at}" y="${y(0) + 16}" text-anchor="middle">${tickLabel(10 ** decade)}</text>`,
    );
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1])
    lines.push(
      `<line x1="${margin.left}" x2="${width - margin.right}" y1="${y(share)}" y2="${y(share)}" stroke="#dddddd"/>`,
      `<text x="${margin.left - 8}" y="${y(share) + 4}" text-anchor="end">${share * 100} %</text>`,
    );
  return lines;
}

function tickLabel(milliseconds: number): string {
  return milliseconds < 1_000 ? `${milliseconds} ms` : `${milliseconds / 1_000} s`;
}

function curve(
  { values }: Series,
  colour: string,
  x: (value: number) => number,
  y: (share: number) => number,
): string {
  const sorted = [...values].sort((a, b) => a - b);
  const stride = Math.max(1, Math.floor(sorted.length / pointsMax));
  const points: string[] = [`${x(sorted[0]!).toFixed(1)},${y(0).toFixed(1)}`];
  for (let i = 0; i < sorted.length; i += stride)
    points.push(`${x(sorted[i]!).toFixed(1)},${y((i + 1) / sorted.length).toFixed(1)}`);
  points.push(`${x(sorted.at(-1)!).toFixed(1)},${y(1).toFixed(1)}`);
  return `<polyline points="${points.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`;
}

function legend({ name, values }: Series, index: number, colour: string): string {
  const left = margin.left + index * 230;
  const top = height - 22;
  return `<rect x="${left}" y="${top - 10}" width="12" height="12" fill="${colour}"/><text x="${left + 18}" y="${top}">${escapeXml(name)} (${values.length})</text>`;
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
