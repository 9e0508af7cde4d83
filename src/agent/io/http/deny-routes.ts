/** What an operator refuses for good: hosts, and single certificates. */
import { Type } from 'typebox';
import { Fault, type HostId, isHex } from '../../../core.ts';
import { type Denied, maxReasonLength } from '../../../trust/admission/denial.ts';
import { serialPattern, serialRule } from '../../ca/denial-port.ts';
import { type ApiContext, hostOf, json, operatorOf, type Route } from './route.ts';
import { shapedBody } from './shaped-body.ts';

export const denyBody = Type.Object(
  {
    /** A host's name or id. */
    host: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    serial: Type.Optional(Type.String({ pattern: serialPattern })),
    reason: Type.Optional(Type.String({ maxLength: maxReasonLength, pattern: '^\\P{Cc}*$' })),
    force: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

/** A host by its name, if it is in the catalog or was denied, or else by its id, whose records may long be gone. */
function hostNamed(context: ApiContext, name: string): HostId {
  const denied = context.agent.denials().find((one) => one.host !== null && one.name === name)?.host;
  const found = hostOf(context, name)?.id ?? denied ?? (isHex(name, 32) ? name : null);
  if (found !== null) return found;
  const orSerial = /^(0x)?[0-9a-f:]+$/i.test(name) ? `, and ${serialRule}` : '';
  throw new Fault('unknown-host', `there is no host ${name}${orSerial}`, { field: 'host' });
}

export const denyRoutes: readonly Route[] = [
  {
    method: 'POST',
    style: 'starling',
    access: 'mesh',
    path: '/v1/mesh/ca/deny',
    summary:
      'Denies a host, by name or id, or a certificate, by serial number, for good: its connections are cut and no ' +
      'certificate of it is believed; not `changed` if it was denied; 409 where too few trustees would be left to ' +
      'sign, unless `force`',
    bodySchema: denyBody,
    answer: async (context, request) => {
      const body = shapedBody(denyBody, request, { serial: serialRule });
      const { host, serial, reason = '', force = false } = body;
      if ((host === undefined) === (serial === undefined))
        throw new Fault('malformed', 'give a host or a serial number', { field: 'host' });
      const denied: Denied =
        serial === undefined ? { type: 'host', host: hostNamed(context, host!) } : { type: 'serial', serial };
      const operator = operatorOf(request);
      return json(await context.agent.command({ type: 'deny', denied, reason, force, operator }));
    },
  },
  {
    method: 'GET',
    style: 'starling',
    access: 'read',
    path: '/v1/mesh/ca/deny',
    summary: 'Every host and certificate that is denied, the newest first, and by whom',
    topic: () => 'denials',
    answer: ({ agent }) => json(agent.denials()),
  },
];
