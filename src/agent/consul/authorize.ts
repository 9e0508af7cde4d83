/** Consul's `connect/authorize`: whether the holder of a certificate may call a service. Pure. */
import { Fault } from '../../core.ts';
import { parseSpiffeId, type ServiceIdentity } from '../../trust/x509/spiffe.ts';
import { checkIntention } from '../policy/intentions.ts';
import type { PolicyStore } from '../port.ts';
import { Fields } from './fields.ts';

export interface AuthorizeRequest {
  /** The service that is called. */
  readonly target: string;
  readonly caller: ServiceIdentity;
  /** Of the caller's certificate, hex; empty where none is given. */
  readonly serial: string;
}

export interface Authorization {
  readonly Authorized: boolean;
  readonly Reason: string;
}

export interface AuthorizeContext {
  readonly trustDomain: string;
  readonly policy: PolicyStore;
  readonly defaultIntention: 'allow' | 'deny';
  /** Serial numbers that nobody is to accept, hex. */
  readonly deniedSerials: readonly string[];
}

/** Throws `Fault` with the field's name: `missing-field`, `bad-query`, `unsupported`. */
export function parseAuthorize(input: unknown): AuthorizeRequest {
  const fields = new Fields(input, '');
  for (const name of ['TargetNamespace', 'TargetPartition'])
    fields.unsupported(name, 'there are no namespaces or partitions but "default"', ['default']);
  const target = fields.string('Target', '');
  if (target === '') throw fields.missing('Target', 'is required: the service that is called');
  const uri = fields.string('ClientCertURI', '', 512);
  if (uri === '') throw fields.missing('ClientCertURI', 'is required: the SPIFFE id of the caller');
  const serial = fields.string('ClientCertSerial', '', 128).replace(/[:-]/g, '').toLowerCase();
  fields.end();
  return { target, caller: callerOf(uri), serial };
}

function callerOf(uri: string): ServiceIdentity {
  try {
    return parseSpiffeId(uri);
  } catch (error) {
    throw new Fault('bad-query', 'ClientCertURI not a valid Connect identifier', {
      field: 'ClientCertURI',
      cause: error,
    });
  }
}

/** By the intentions that this host's proxy enforces, and the same function. */
export function authorize(
  { target, caller, serial }: AuthorizeRequest,
  context: AuthorizeContext,
): Authorization {
  const { trustDomain, policy, defaultIntention, deniedSerials } = context;
  if (caller.trustDomain !== trustDomain)
    return { Authorized: false, Reason: `Identity from an external trust domain: ${caller.trustDomain}` };
  if (serial !== '' && deniedSerials.some((denied) => sameSerial(denied, serial)))
    return { Authorized: false, Reason: `Certificate ${serial} was denied by an operator` };
  const { allowed, rule } = checkIntention(policy, defaultIntention, caller.service, target);
  const Reason =
    rule === null
      ? `Default intention of the mesh: ${defaultIntention}`
      : `Matched intention: ${allowed ? 'ALLOW' : 'DENY'} ${caller.service} => ${target} (${rule})`;
  return { Authorized: allowed, Reason };
}

/** Leading zeros are written by some and not by others. */
function sameSerial(a: string, b: string): boolean {
  return a.toLowerCase().replace(/^0+/, '') === b.replace(/^0+/, '');
}
