/** What several kinds of config entry have in common. */

import type { HeaderEdits, HeaderValue } from '../../proxy/policy.ts';
import { parseDuration } from '../consul/duration.ts';
import type { Fields } from '../consul/fields.ts';
import { serviceNamePattern } from '../kinds.ts';
import {
  duration,
  echoed,
  type Form,
  list,
  mapOf,
  type Needed,
  needed,
  object,
  type Read,
  type Refused,
  refused,
  text,
  word,
} from './form.ts';

const oneNamespace = refused('there are no namespaces or partitions but "default"', ['default']);

/** Consul Enterprise's places, of which there is one. */
export const places: { readonly Namespace: Refused; readonly Partition: Refused } = {
  Namespace: oneNamespace,
  Partition: oneNamespace,
};

/** There are no other meshes to speak of. */
export const peers: { readonly Peer: Refused; readonly SamenessGroup: Refused } = {
  Peer: refused('there is no peering between meshes'),
  SamenessGroup: refused('there is no peering between meshes'),
};

export const serviceName: Form<string> = text({
  most: 63,
  pattern: serviceNamePattern,
  what: 'a service name',
});

export const subsetName: Form<string> = text({
  most: 63,
  pattern: serviceNamePattern,
  what: 'the name of a subset: a-z, 0-9 and -, at most 63',
});

const meta: Form<{ readonly [key: string]: string }> = mapOf(text({ most: 512 }), {
  most: 64,
  key: /^[^\p{Cc}]{1,128}$/u,
  what: 'a key of 1 to 128 characters',
});

/** What every entry has. */
export function entryFields<K extends string, N extends Form<string>>(
  kind: K,
  name: N,
): {
  readonly Kind: Form<K> & Needed;
  readonly Name: N & Needed;
  readonly Meta: typeof meta;
  readonly Namespace: Refused;
  readonly Partition: Refused;
  readonly CreateIndex: Refused;
  readonly ModifyIndex: Refused;
  readonly Hash: Refused;
  readonly Status: Refused;
} {
  return {
    Kind: needed(word([kind])),
    Name: { ...name, needed: 'is required' },
    Meta: meta,
    ...places,
    CreateIndex: echoed,
    ModifyIndex: echoed,
    Hash: echoed,
    Status: echoed,
  };
}

/** A field name as RFC 9110 has it. */
const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
export const headerNameText: Form<string> = text({ most: 128, pattern: headerName, what: 'a header name' });
/** No control characters: a value must not end a header and begin another. */
const headerValue: Form<string> = text({
  most: 4096,
  pattern: /^[\t\x20-\x7e\x80-\xff]*$/,
  what: 'a header value: visible characters of Latin-1',
});

/** The proxies' own business: to edit these would break a message or forge an identity. */
const untouchable =
  /^(:.*|host|connection|content-length|transfer-encoding|te|trailer|upgrade|keep-alive|proxy-connection|x[-_]forwarded[-_]client[-_]cert|x[-_]starling[-_].*)$/i;

const headerMap = mapOf(headerValue, { most: 64, key: headerName, what: 'a header name' });
const headerEditsShape = { Add: headerMap, Set: headerMap, Remove: list(headerNameText, 64) };

/** Changes to the headers of requests or responses. */
export const headerEdits: Form<Read<ReturnType<typeof makeHeaderEdits>>> = makeHeaderEdits();

function makeHeaderEdits() {
  return object(headerEditsShape, {
    check(read, fields) {
      const named: (readonly [field: string, name: string])[] = [
        ...Object.keys(read.Add ?? {}).map((name) => ['Add', name] as const),
        ...Object.keys(read.Set ?? {}).map((name) => ['Set', name] as const),
        ...(read.Remove ?? []).map((name) => ['Remove', name] as const),
      ];
      for (const [field, name] of named)
        if (untouchable.test(name))
          throw fields.fault('unsupported', field, `"${name}" is the proxy's own business`);
      refuseTwins(read.Set ?? {}, 'Set', fields);
      refuseTwins(read.Add ?? {}, 'Add', fields);
    },
  });
}

/** Header names in two spellings are one header, and which value it gets must not be chance. */
function refuseTwins(map: { readonly [name: string]: string }, field: string, fields: Fields): void {
  const seen = new Set<string>();
  for (const name of Object.keys(map)) {
    if (seen.has(name.toLowerCase()))
      throw fields.fault('conflicting-fields', field, `names "${name}" twice`);
    seen.add(name.toLowerCase());
  }
}

export function headerEditsPolicy(edits: Read<typeof headerEdits> | undefined): HeaderEdits | null {
  if (edits === undefined) return null;
  const values = (map: { readonly [name: string]: string } = {}): HeaderValue[] =>
    Object.entries(map).map(([name, value]) => ({ name: name.toLowerCase(), value }));
  return {
    remove: (edits.Remove ?? []).map((name) => name.toLowerCase()),
    set: values(edits.Set),
    add: values(edits.Add),
  };
}

/** A day at most. */
export const timeout: Form<string> = duration({ mostMs: 24 * 3_600_000 });

/** Of a duration in normal form. */
export function milliseconds(text: string): number {
  return parseDuration(text, '');
}

export function optionalMilliseconds(text: string | undefined): number | null {
  return text === undefined ? null : milliseconds(text);
}

/** A try that may last as long as the request with all its tries is not limited by itself. */
export function refuseLateTry(
  { PerTryTimeout, RequestTimeout }: { readonly PerTryTimeout?: string; readonly RequestTimeout?: string },
  fields: Fields,
): void {
  if (PerTryTimeout === undefined || RequestTimeout === undefined) return;
  if (milliseconds(PerTryTimeout) >= milliseconds(RequestTimeout))
    throw fields.fault(
      'without-effect',
      'PerTryTimeout',
      `the request ends by RequestTimeout, ${RequestTimeout}, before`,
    );
}
