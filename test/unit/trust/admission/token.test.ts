import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import {
  encodeOperatorToken,
  encodeToken,
  parseOperatorToken,
  parseToken,
  sealText,
  type TokenFields,
} from '../../../../src/trust/admission/token.ts';
import { faultCode, founder, genesis, seedOf, signerOf, startedAt, trustDomain } from '../mesh.ts';

const fields: TokenFields = {
  trustDomain,
  genesisHash: genesis.hash,
  seeds: [
    { address: '10.0.0.1', port: 7946, host: founder.publicKey },
    { address: 'fd00::1', port: 7946, host: signerOf('two').publicKey },
    { address: 'seed.example', port: 1, host: signerOf('three').publicKey },
  ],
  grantId: '0123456789abcdef',
  expiresAt: startedAt,
};
const secret = seedOf('grant');
const text = encodeToken(fields, secret);

test('a token carries everything a host needs to join, and white space around it is forgiven', () => {
  assert.match(text, /^starling-join-1\.[A-Za-z0-9_-]+$/);
  const token = parseToken(`  ${text}\n`);
  assert.deepEqual({ ...token }, fields);
  assert.equal(token.grantSigner().publicKey, signerOf('grant').publicKey);
  assert.equal(token.reveal(), text);
});

test('a token that is printed, serialised or spread does not show its secret', () => {
  const token = parseToken(text);
  const shown = [inspect(token, { depth: 9, showHidden: true }), JSON.stringify(token), String(token)].join();
  for (const form of ['hex', 'base64', 'base64url'] as const)
    assert.ok(!shown.includes(Buffer.from(secret).toString(form).slice(0, 20)));
  assert.ok(!JSON.stringify({ ...token }).includes('eed"'));
});

test('a token with one wrong or missing character is called mistyped, and is not quoted', () => {
  const [head, body] = text.split('.') as [string, string];
  for (let index = 0; index < body.length; index += 7) {
    const wrong = `${head}.${body.slice(0, index)}${body[index] === 'A' ? 'B' : 'A'}${body.slice(index + 1)}`;
    assert.equal(
      faultCode(() => parseToken(wrong)),
      'token-mistyped',
      `at ${index}`,
    );
    const missing = `${head}.${body.slice(0, index)}${body.slice(index + 1)}`;
    assert.equal(
      faultCode(() => parseToken(missing)),
      'token-mistyped',
      `without ${index}`,
    );
  }
  assert.throws(
    () => parseToken(text.slice(0, -1)),
    (error: Error) => !error.message.includes(body.slice(0, 10)) && !error.message.includes('\n'),
  );
});

test('text that is no token, and tokens of other kinds and versions, are told apart', () => {
  for (const bad of [
    '',
    'hello',
    'starling-join-1',
    'starling-join-1.a.b',
    encodeOperatorToken(secret),
    'x'.repeat(9999),
  ])
    assert.equal(
      faultCode(() => parseToken(bad)),
      'token-malformed',
      bad.slice(0, 30),
    );
  assert.equal(
    faultCode(() => parseToken(text.replace('-1.', '-2.'))),
    'token-unsupported',
  );
});

test('a well-sealed token with impossible contents is malformed', () => {
  for (const bad of [
    { ...fields, seeds: [] },
    { ...fields, seeds: [...fields.seeds, ...fields.seeds] },
    { ...fields, trustDomain: 'NO' },
    { ...fields, seeds: [{ ...fields.seeds[0]!, port: 0 }] },
    { ...fields, seeds: [{ ...fields.seeds[0]!, address: 'a b' }] },
  ])
    assert.equal(
      faultCode(() => parseToken(encodeToken(bad, secret))),
      'token-malformed',
    );
  assert.equal(
    faultCode(() => parseToken(sealText('starling-join-1', Buffer.from('x')))),
    'token-malformed',
  );
});

test('an operator token gives the signer of its seed, and mistakes have names of their own', () => {
  const token = encodeOperatorToken(secret);
  assert.match(token, /^starling-operator-1\./);
  assert.equal(parseOperatorToken(`${token}\n`).publicKey, signerOf('grant').publicKey);
  assert.equal(
    faultCode(() => parseOperatorToken(text)),
    'operator-token-malformed',
  );
  assert.equal(
    faultCode(() => parseOperatorToken(token.slice(0, -1))),
    'operator-token-mistyped',
  );
  assert.equal(
    faultCode(() => parseOperatorToken(token.replace('-1.', '-9.'))),
    'operator-token-unsupported',
  );
  const short = sealText('starling-operator-1', secret.subarray(1));
  assert.equal(
    faultCode(() => parseOperatorToken(short)),
    'operator-token-malformed',
  );
});
