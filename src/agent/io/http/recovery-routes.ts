/** Shares of the root that are put away, and the recovery by them. */
import { Type } from 'typebox';
import { maxColdDealingBytes } from '../../../trust/epoch/message.ts';
import { maxTrustees } from '../../../trust/epoch/policy.ts';
import { maxColdSeats } from '../../../trust/frost/cold.ts';
import { json, operatorOf, type Route } from './route.ts';
import { shapedBody } from './shaped-body.ts';

const hex32 = '^[0-9a-f]{64}$';
const base64 = (bytes: number) =>
  Type.String({ maxLength: Math.ceil(bytes / 3) * 4, pattern: '^[A-Za-z0-9+/]*={0,2}$' });
const maxPlanBytes = 8192;

export const recoveryKeyBody = Type.Object(
  {
    /** Ed25519, hex; null for no shares put away. */
    key: Type.Union([Type.String({ pattern: hex32 }), Type.Null()]),
    seats: Type.Optional(Type.Integer({ minimum: 1, maximum: maxColdSeats })),
  },
  { additionalProperties: false },
);

/** Each part is judged by those who take part in the recovery. */
export const recoverBody = Type.Object(
  {
    plan: base64(maxPlanBytes),
    signature: base64(64),
    dealing: base64(maxColdDealingBytes),
    /** By host id. */
    shares: Type.Record(Type.String({ pattern: hex32 }), base64(maxColdDealingBytes), {
      maxProperties: maxTrustees,
    }),
  },
  { additionalProperties: false },
);

export const drillBody = Type.Object(
  { epoch: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }) },
  { additionalProperties: false },
);

function bytes(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'base64'));
}

export const recoveryRoutes: readonly Route[] = [
  {
    method: 'GET',
    style: 'starling',
    access: 'read',
    path: '/v1/mesh/ca/recovery',
    summary:
      'The shares of the root that are put away, sealed, and what a recovery with them would come to now: its plan, ' +
      'or why there is none',
    answer: async ({ agent }) => json(await agent.command({ type: 'read-recovery' })),
  },
  {
    method: 'POST',
    style: 'starling',
    access: 'mesh',
    path: '/v1/mesh/ca/recovery/key',
    summary:
      'Has shares of the root sealed for this key from the next epoch on, fewer than sign, for the day when too few ' +
      'trustees are left; `key: null` for none. Of the first operator',
    bodySchema: recoveryKeyBody,
    answer: async ({ agent }, request) => {
      const { key, seats } = shapedBody(recoveryKeyBody, request);
      const operator = operatorOf(request);
      return json(await agent.command({ type: 'set-recovery-key', key, seats: seats ?? null, operator }));
    },
  },
  {
    method: 'POST',
    style: 'starling',
    access: 'mesh',
    path: '/v1/mesh/ca/recovery/drill',
    summary: 'Tells the mesh that the shares put away of an epoch were opened and fit the root',
    bodySchema: drillBody,
    answer: async ({ agent }, request) => {
      const { epoch } = shapedBody(drillBody, request);
      return json(await agent.command({ type: 'note-drill', epoch, operator: operatorOf(request) }));
    },
  },
  {
    method: 'POST',
    style: 'starling',
    access: 'mesh',
    path: '/v1/mesh/ca/recover',
    summary:
      'Begins the recovery that the holder of the recovery key has planned and dealt (`starling ca recover`): the ' +
      'trustees that are left move the root to hosts that are here; `/v1/mesh/ca` tells how far it is',
    bodySchema: recoverBody,
    answer: async ({ agent }, request) => {
      const body = shapedBody(recoverBody, request);
      const shares = new Map(Object.entries(body.shares).map(([host, share]) => [host, bytes(share)]));
      const [plan, signature, dealing] = [bytes(body.plan), bytes(body.signature), bytes(body.dealing)];
      const operator = operatorOf(request);
      return json(await agent.command({ type: 'recover', plan, signature, dealing, shares, operator }), 202);
    },
  },
];
