/** `service-splitter`: shares of a service's requests for subsets of it, or for other services. */
import type { SplitterPolicy } from '../../proxy/policy.ts';
import { fault } from '../consul/fields.ts';
import { entryFields, headerEdits, headerEditsPolicy, places, serviceName, subsetName } from './common.ts';
import { described, list, needed, object, percent, type Read } from './form.ts';

const whole = 10_000;

const split = object({
  Weight: needed(described(percent(), 'All add up to 100.'), 'is required: a percentage'),
  Service: serviceName,
  ServiceSubset: subsetName,
  ...places,
  RequestHeaders: headerEdits,
  ResponseHeaders: headerEdits,
});

type Split = Read<typeof split>;

export const serviceSplitter = object(
  {
    ...entryFields('service-splitter', serviceName),
    Splits: needed(list(split, 64), 'no splits configured'),
  },
  {
    check(read, fields) {
      const path = fields.at('Splits');
      const target = ({ Service = read.Name, ServiceSubset = '' }: Split) => `${Service}/${ServiceSubset}`;
      const targets = read.Splits.map(target);
      const twin = targets.findIndex((one, i) => targets.indexOf(one) < i);
      if (twin >= 0)
        throw fault('conflicting-fields', `${path}[${twin}]`, 'split destination occurs more than once');
      if (read.Splits.length === 1 && targets[0] === `${read.Name}/` && saysNothingElse(read.Splits[0]!))
        throw fault('without-effect', path, 'send everything where it goes anyway');
      const sum = read.Splits.reduce((total, { Weight }) => total + hundredths(Weight), 0);
      if (sum !== whole)
        throw fault('invalid-field', path, `the sum of all split weights must be 100, not ${sum / 100}`);
    },
  },
);

export type ServiceSplitter = Read<typeof serviceSplitter>;

function saysNothingElse({ RequestHeaders, ResponseHeaders }: Split): boolean {
  return RequestHeaders === undefined && ResponseHeaders === undefined;
}

/** Consul's resolution: hundredths of a percent. */
function hundredths(percent: number): number {
  return Math.round(percent * 100);
}

export function splitterPolicy(entry: ServiceSplitter): SplitterPolicy {
  return {
    rule: `${entry.Kind}/${entry.Name}`,
    service: entry.Name,
    splits: entry.Splits.map((written) => ({
      weight: hundredths(written.Weight),
      service: written.Service ?? '',
      subset: written.ServiceSubset ?? '',
      requestHeaders: headerEditsPolicy(written.RequestHeaders),
      responseHeaders: headerEditsPolicy(written.ResponseHeaders),
    })),
  };
}
