import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  agentSettings,
  environmentName,
  httpAddress,
  type MachineFacts,
  optionNames,
  optionsFromEnvironment,
  optionsFromFile,
  type RawOptions,
  socketAddress,
} from '../../../src/agent/settings.ts';
import { Fault } from '../../../src/core.ts';
import { encodeToken } from '../../../src/trust/admission/token.ts';

const machine: MachineFacts = {
  hostName: 'Box7.example.com',
  isRoot: false,
  routeAddress: '192.0.2.7',
  temporaryDirectory: () => '/tmp/starling-dev-x',
  readText: (path) => (path === '/t' ? `${tokenOf(inFile)}\n` : 'no token'),
};

/** The text of a token under this grant. */
const tokenOf = (grantId: string): string =>
  encodeToken(
    {
      trustDomain: 'flock.mesh',
      genesisHash: 'ab'.repeat(32),
      seeds: [{ address: '192.0.2.1', port: 7946, host: 'cd'.repeat(32) }],
      grantId,
      expiresAt: 0,
    },
    new Uint8Array(32),
  );
const [inline, inFile] = ['11'.repeat(8), '22'.repeat(8)];

const settle = (...sources: RawOptions[]) => agentSettings(sources, machine);

/** Throws unless `act` throws a Fault that names `option`; returns its code. */
function refused(option: string, act: () => unknown): string {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    assert.equal(error.field, option, error.message);
    return error.code;
  }
  throw new Error(`nothing was refused for ${option}`);
}

test('with no option at all the machine decides', () => {
  const settings = settle({});
  assert.equal(settings.name, 'box7');
  assert.equal(settings.dataDir, './starling-data');
  assert.equal(settings.bind, '0.0.0.0');
  assert.equal(settings.advertise, '192.0.2.7');
  assert.deepEqual(settings.http, { address: '127.0.0.1', port: 8500 });
  assert.deepEqual(settings.dns, { address: '127.0.0.1', port: 8600 });
  assert.equal(settings.svidTtlMs, 12 * 3_600_000);
  assert.equal(settings.defaultIntention, 'deny');
  assert.equal(agentSettings([{}], { ...machine, isRoot: true }).dataDir, '/var/lib/starling');
});

test('flags win over the environment, which wins over the file, option by option', () => {
  const flags = { zone: 'flag' };
  const environment = optionsFromEnvironment({
    STARLING_ZONE: 'environment',
    STARLING_DATACENTER: 'environment',
  });
  const file = optionsFromFile({ zone: 'file', datacenter: 'file', domain: 'file' }, 'f');
  const { zone, datacenter, domain } = settle(flags, environment, file);
  assert.deepEqual([zone, datacenter, domain], ['flag', 'environment', 'file']);
});

test('a switch that is off in the environment stays off though the file turns it on', () => {
  const environment = optionsFromEnvironment({ STARLING_BOOTSTRAP: 'no' });
  assert.equal(settle(environment, optionsFromFile({ bootstrap: true }, 'f')).bootstrap, false);
});

test('every option has an environment variable, and only those are read', () => {
  for (const option of Object.keys(optionNames)) assert.match(environmentName(option), /^STARLING_[A-Z_]+$/);
  assert.equal(environmentName('gossip-port'), 'STARLING_GOSSIP_PORT');
  assert.deepEqual(optionsFromEnvironment({ STARLING_COLOUR: 'red', PATH: '/bin' }), {});
  assert.deepEqual(optionsFromEnvironment({ STARLING_JOIN: '10.0.0.1, 10.0.0.2:99' }), {
    join: ['10.0.0.1', '10.0.0.2:99'],
  });
  assert.equal(
    refused('dev', () => optionsFromEnvironment({ STARLING_DEV: 'perhaps' })),
    'bad-option',
  );
});

test('a file may spell options with dashes or underscores, and a single join as text', () => {
  assert.deepEqual(optionsFromFile({ gossip_port: 1234, 'log-level': 'warn', join: 'a:1' }, 'f'), {
    'gossip-port': 1234,
    'log-level': 'warn',
    join: ['a:1'],
  });
});

test('a file with an unknown or wrongly shaped option is refused with the key it used', () => {
  for (const [contents, key] of [
    [{ colour: 'red' }, 'colour'],
    [{ constructor: 'x' }, 'constructor'],
    [JSON.parse('{"__proto__": "x"}'), '__proto__'],
    [{ dev: 'true' }, 'dev'],
    [{ name: ['a'] }, 'name'],
    [{ gossip_port: null }, 'gossip_port'],
    [{ join: [1] }, 'join'],
    [{ join: { a: 1 } }, 'join'],
  ] as const)
    assert.equal(
      refused(key, () => optionsFromFile(contents, 'f')),
      'bad-config',
    );
  for (const contents of [null, 'text', 5, [], undefined])
    assert.equal(
      refused('f', () => optionsFromFile(contents, 'f')),
      'bad-config',
    );
});

test('every value that cannot be is refused with the name of its option', () => {
  const wrong: readonly (readonly [string, RawOptions[string]])[] = [
    ['data-dir', ''],
    ['name', 'my_host'],
    ['name', 'a'.repeat(64)],
    ['datacenter', 'DC1'],
    ['zone', '-a'],
    ['bind', 'localhost'],
    ['advertise', '10.0.0.256'],
    ['advertise', '0.0.0.0'],
    ['gossip-port', '0'],
    ['gossip-port', '65536'],
    ['gossip-port', '1e3'],
    ['inbound-port', '-1'],
    ['inbound-port', 1.5],
    ['outbound', '127.0.0.1'],
    ['http', 'none'],
    ['http', 'unix:'],
    ['http', '[::1:8500'],
    ['http', '[127.0.0.1]:8500'],
    ['dns', '127.0.0.1:70000'],
    ['domain', '.'],
    ['domain', 'a..b'],
    ['vip-range', '10.0.0.0/8'],
    ['join', ['']],
    ['join', ['10.0.0.1:0']],
    ['join', ['10.0.0.1:port']],
    ['join', ['a b']],
    ['proxy', 'nginx'],
    ['proxy', 'envoy'],
    ['svid-ttl', '12'],
    ['svid-ttl', '9s'],
    ['svid-ttl', '169h'],
    ['svid-ttl', 'h'],
    ['svid-ttl', '1d'],
    ['svid-ttl', '800h'],
    ['log-format', 'xml'],
    ['log-level', 'trace'],
    ['default-intention', 'maybe'],
    ['token', ''],
    ['token', 'foo'],
    ['token', tokenOf(inline).slice(0, -3)],
    ['token-file', '/etc/hostname'],
  ];
  for (const [option, value] of wrong) {
    const bootstrap = option === 'default-intention';
    const code = refused(option, () => settle({ [option]: value, bootstrap }));
    assert.match(code, /^(bad-option|bad-vip-range|unsupported)$/, `${option}=${value}`);
  }
});

test('options that contradict each other are refused', () => {
  refused('join', () => settle({ bootstrap: true, join: ['10.0.0.1'] }));
  refused('join', () => settle({ dev: true, join: ['10.0.0.1'] }));
  refused('default-intention', () => settle({ 'default-intention': 'allow' }));
  refused('token-file', () => settle({ token: 't', 'token-file': 'f' }));
});

test('a token comes from the first source that has one, in either spelling', () => {
  const token = tokenOf(inline);
  assert.equal(settle({ token }, { 'token-file': '/t' }).token?.grantId, inline);
  assert.equal(settle({ 'token-file': '/t' }, { token }).token?.grantId, inFile);
  assert.equal(settle({}, {}).token, null);
});

test('without a default route the address must be said, unless one is bound', () => {
  const lost = { ...machine, routeAddress: null };
  refused('advertise', () => agentSettings([{}], lost));
  assert.equal(agentSettings([{ advertise: '10.1.1.1' }], lost).advertise, '10.1.1.1');
  assert.equal(agentSettings([{ bind: '10.2.2.2' }], lost).advertise, '10.2.2.2');
});

test('dev is a mesh of its own on localhost, in a directory made for it only then', () => {
  let made = 0;
  const counting = { ...machine, temporaryDirectory: () => `/tmp/${++made}` };
  const { bind, advertise, bootstrap, dataDir, isDataDirTemporary } = agentSettings(
    [{ dev: true }],
    counting,
  );
  assert.deepEqual([bind, advertise, bootstrap, dataDir], ['127.0.0.1', '127.0.0.1', true, '/tmp/1']);
  assert.equal(isDataDirTemporary, true);
  assert.equal(agentSettings([{}], counting).isDataDirTemporary, false);
  assert.equal(agentSettings([{ dev: true, 'data-dir': '/d' }], counting).isDataDirTemporary, false);
  refused('log-level', () => agentSettings([{ dev: true, 'log-level': 'loud' }], counting));
  assert.equal(made, 1);
});

test('none switches off what can be switched off, and a zone may be empty', () => {
  const { dns, outbound, zone } = settle({ dns: 'none', outbound: 'none', zone: '' });
  assert.deepEqual([dns, outbound, zone], [null, null, '']);
});

test('a domain is lower-case and without its last dot', () => {
  assert.equal(settle({ domain: 'Mesh.Example.' }).domain, 'mesh.example');
});

test('durations are read in every unit', () => {
  for (const [text, ms] of [
    ['10s', 10_000],
    ['90m', 5_400_000],
    ['1.5h', 5_400_000],
    ['1h30m', 5_400_000],
    ['20000ms', 20_000],
  ] as const)
    assert.equal(settle({ 'svid-ttl': text }).svidTtlMs, ms);
});

test('addresses are IPv4, bracketed IPv6 or names, and an API may be a unix socket', () => {
  assert.deepEqual(socketAddress('x', '[::1]:80'), { address: '::1', port: 80 });
  assert.deepEqual(socketAddress('x', '[::1]', 7), { address: '::1', port: 7 });
  assert.deepEqual(socketAddress('x', 'seed-1.example.com', 7), { address: 'seed-1.example.com', port: 7 });
  assert.throws(() => socketAddress('x', '::1:80'), Fault);
  assert.deepEqual(httpAddress('unix:/run/starling.sock'), { path: '/run/starling.sock' });
  assert.deepEqual(settle({ join: ['10.0.0.1'] }).join, [{ address: '10.0.0.1', port: 7946 }]);
});
