/** Denials over the API and by the command. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import type { DenialAnswer, DenialStatus } from '../../../../src/agent/ca/denial-port.ts';
import { serialIn } from '../../../../src/agent/io/cli/deny-commands.ts';
import { hostValue, operatorKey } from '../../../support/agent.ts';
import { operatorToken, startApi, type TestApi } from '../../../support/api.ts';

const starling = resolve(import.meta.dirname, '../../../../bin/starling');
const path = '/v1/mesh/ca/deny';
const two = 'b'.repeat(64);
const three = 'c'.repeat(64);
const serial = '4a'.repeat(19);
let api: TestApi;
let folder: string;
let token: string[];
before(async () => {
  api = await startApi();
  api.agent.addHost(two, hostValue('two', '10.0.0.2'));
  api.agent.addHost(three, hostValue('decaf0', '10.0.0.3'));
  folder = mkdtempSync(join(tmpdir(), 'starling-deny-'));
  const file = join(folder, 'operator.token');
  writeFileSync(file, `${operatorToken}\n`, { mode: 0o600 });
  token = ['--operator-token-file', file];
});
after(async () => {
  await api.server.close();
  rmSync(folder, { recursive: true });
});

/** Runs `starling` against the test's agent. */
function cli(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((done) => {
    execFile(starling, [...args, '--http', api.address], { cwd: folder }, (error, stdout, stderr) =>
      done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}

test('only an operator denies, and a bad request is told which field is wrong', async () => {
  assert.equal((await api.call('POST', path, { body: { host: 'two' } })).status, 403);
  const refused = async (body: object) => {
    const { status, text } = await api.call('POST', path, { body, operator: true });
    return [status, (JSON.parse(text) as { field?: string }).field];
  };
  assert.deepEqual(await refused({}), [400, 'host']);
  assert.deepEqual(await refused({ host: 'two', serial }), [400, 'host']);
  assert.deepEqual(await refused({ serial: 'xyz' }), [400, 'serial']);
  assert.deepEqual(await refused({ serial: serial.toUpperCase() }), [400, 'serial']);
  for (const short of ['cafe', serial.slice(2), `${serial}4a`, `8${serial.slice(1)}`])
    assert.deepEqual(await refused({ serial: short }), [400, 'serial']);
  assert.deepEqual(await refused({ host: 'two', reason: 'a\nb' }), [400, 'reason']);
  assert.deepEqual(await refused({ host: 'nobody' }), [404, 'host']);
  const unknown = await api.call('POST', path, { body: { host: 'two', until: 1 }, operator: true });
  assert.deepEqual(
    [unknown.status, unknown.json()],
    [400, { code: 'malformed', message: 'unknown field', field: 'until' }],
  );
  assert.deepEqual(api.agent.denials(), []);
});

test('a host is denied by name, once, and the list waits for it', async () => {
  const empty = await api.call('GET', path);
  assert.deepEqual(empty.json(), []);
  const changed = api.call('GET', `${path}?index=${empty.headers['x-consul-index']}&wait=20s`);
  const body = { host: 'two', reason: 'stolen' };
  const made = (await api.call('POST', path, { body, operator: true })).json<DenialAnswer>();
  assert.deepEqual([made.host, made.name, made.changed, made.until], [two, 'two', true, null]);
  const [listed] = (await changed).json<DenialStatus[]>();
  assert.deepEqual([listed?.host, listed?.reason, listed?.by], [two, 'stolen', operatorKey]);
  const again = (await api.call('POST', path, { body, operator: true })).json<DenialAnswer>();
  assert.deepEqual([again.changed, again.at], [false, made.at]);
});

test('the command takes a host by name or id, or a serial number however it is written', async () => {
  const colons = serial.toUpperCase().match(/../g)!.join(':');
  for (const text of [serial, colons, `0x${serial}`]) assert.equal(serialIn(text), serial);
  for (const text of ['', 'abc', 'cafe', 'two', `${serial}4a4a`]) assert.equal(serialIn(text), null);

  const bySerial = await cli('ca', 'deny', colons, '--reason', 'key leaked', ...token);
  assert.match(
    bySerial.stdout,
    new RegExp(`^the certificate ${serial} is denied, but no issuance log .* has it: is the number right`),
    bySerial.stderr,
  );
  // A host's name goes before a number that could be a serial.
  const byName = await cli('ca', 'deny', 'decaf0', ...token, '--json');
  assert.equal((JSON.parse(byName.stdout) as DenialAnswer).host, three);
  const again = await cli('ca', 'deny', three, ...token);
  assert.match(again.stdout, /^host decaf0 \(cccccccc\) was denied before, at /);
  const unknown = await cli('ca', 'deny', 'nobody', ...token);
  assert.deepEqual([unknown.code, /there is no host nobody$/m.test(unknown.stderr)], [1, true]);
  // What begins like a serial number is more likely to be a host's name with an error in it.
  const mistyped = await cli('ca', 'deny', 'decaf1', ...token);
  assert.deepEqual(
    [mistyped.code, /there is no host decaf1, and a serial number .* 38/.test(mistyped.stderr)],
    [1, true],
  );
  assert.equal((await cli('ca', 'deny', 'two')).code, 1, 'without a token');
  assert.equal((await cli('ca', 'deny')).code, 2);
  assert.equal((await cli('ca', 'deny', 'two', '--reason', 'a\nb', ...token)).code, 2);
});

test('of a certificate that an issuance log has, the command says whose it is', async () => {
  const entry = {
    digest: 'd',
    subject: 'spiffe://mesh/svc/api',
    serial: '5b'.repeat(19),
    notBefore: 1,
    notAfter: 2,
    at: 1,
    requester: two,
    requesterName: 'two',
    witnesses: ['one'],
  };
  api.agent.caLog = { entries: [entry], sources: [], alarms: [] };
  const { stdout } = await cli('ca', 'deny', entry.serial, ...token);
  const whose = 'spiffe://mesh/svc/api, which two asked for,';
  assert.equal(
    stdout,
    `the certificate ${entry.serial} of ${whose} is denied; an agent that uses it gets another\n`,
  );
  const again = await cli('ca', 'deny', entry.serial, ...token, '--json');
  assert.deepEqual((JSON.parse(again.stdout) as { holder: unknown }).holder, {
    subject: entry.subject,
    host: 'two',
  });
});

test('the list shows what is denied, since when, until when, by whom and why', async () => {
  const { stdout } = await cli('ca', 'deny', 'list');
  assert.match(stdout, /^DENIED +SINCE +ENDS +BY +REASON/);
  assert.match(stdout, /^host two \(bbbbbbbb\) +\S+ ago +never +ffffffff +stolen$/m);
  assert.match(
    stdout,
    new RegExp(`^the certificate ${serial} +\\S+ ago +\\d{4}-\\S+Z +ffffffff +key leaked$`, 'm'),
  );
  const listed = await cli('ca', 'deny', 'list', '--json');
  assert.equal((JSON.parse(listed.stdout) as unknown[]).length, 4);
});
