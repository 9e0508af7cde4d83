import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readArguments } from '../../../bench/arguments.ts';

function misuse(...args: string[]): string {
  const command = readArguments(args);
  assert.ok('misuse' in command, `${args.join(' ')} should be refused`);
  assert.ok(!command.misuse.includes('\n'), 'a refusal is one line');
  return command.misuse;
}

test('the proxy benchmark compares everybody in everything for three rounds of five seconds unless told', () => {
  const only = ['agent', 'load', 'pace', 'grpc', 'tcp', 'memory'];
  const starlings = ['starling-plane', 'starling-2', 'starling-3'];
  const peers = ['haproxy-h2', 'haproxy-h1', 'nginx', 'caddy', 'node-http2', ...starlings];
  const usual = { bench: 'proxy', json: null, seconds: 5, rounds: 3, only, peers };
  assert.deepEqual(readArguments(['proxy']), usual);
  const asked = readArguments(['proxy', '--json', 'out.json', '--seconds', '2', '--rounds', '7']);
  assert.deepEqual(asked, { ...usual, json: 'out.json', seconds: 2, rounds: 7 });
  const some = readArguments(['proxy', '--only', 'tcp,load', '--peers', 'nginx,haproxy-h2']);
  assert.deepEqual(some, { ...usual, only: ['load', 'tcp'], peers: ['haproxy-h2', 'nginx'] });
  assert.match(misuse('proxy', '--only', 'speed'), /--only takes agent.*not "speed"/);
  assert.match(misuse('proxy', '--peers', 'envoy'), /--peers takes haproxy-h2.*not "envoy"/);
  assert.match(misuse('gossip', '--peers', 'nginx'), /--peers is for proxy/);
});

test('the gossip benchmark measures everything once with thirty agents unless told', () => {
  const everything = ['join', 'idle', 'change', 'kill', 'stop', 'cut', 'freeze'];
  const usual = { bench: 'gossip', json: null, sizes: [30], rounds: 1, only: everything };
  assert.deepEqual(readArguments(['gossip']), usual);
  const asked = readArguments(['gossip', '--n', '10,60', '--only', 'cut,join', '--rounds', '2']);
  assert.deepEqual(asked, { ...usual, sizes: [10, 60], rounds: 2, only: ['join', 'cut'] });
});

test('sizes, measurements and flags that the gossip benchmark has not are refused', () => {
  for (const sizes of ['2', '201', '10,', 'many'])
    assert.match(misuse('gossip', '--n', sizes), /--n must be a whole number from 3 to 200/);
  assert.match(misuse('gossip', '--only', 'join,speed'), /--only takes join.*not "speed"/);
  assert.match(misuse('gossip', '--seconds', '5'), /--seconds is for proxy/);
  assert.match(misuse('proxy', '--n', '5'), /--n is for gossip/);
});

test('the trust benchmark measures everything thrice with three, five and seven trustees unless told', () => {
  const everything = ['pure', 'handshake', 'issue', 'succession'];
  const usual = { bench: 'trust', json: null, sizes: [3, 5, 7], rounds: 3, only: everything };
  assert.deepEqual(readArguments(['trust']), usual);
  const asked = readArguments(['trust', '--n', '5', '--only', 'issue,pure', '--rounds', '1']);
  assert.deepEqual(asked, { ...usual, sizes: [5], rounds: 1, only: ['pure', 'issue'] });
});

test('numbers of trustees, measurements and flags that the trust benchmark has not are refused', () => {
  for (const sizes of ['4', '3,', 'many']) assert.match(misuse('trust', '--n', sizes), /--n takes 3, 5, 7/);
  assert.match(misuse('trust', '--only', 'kill'), /--only takes pure.*not "kill"/);
  assert.match(misuse('trust', '--seconds', '5'), /--seconds is for proxy/);
});

test('the policy benchmark takes rounds and a file, and nothing else', () => {
  assert.deepEqual(readArguments(['policy', '--rounds', '2']), { bench: 'policy', json: null, rounds: 2 });
  assert.match(misuse('policy', '--n', '3'), /--n is not for policy/);
  assert.match(misuse('policy', '--only', 'x'), /--only is not for policy/);
});

test('an unknown benchmark, none, or two are refused with the usage', () => {
  assert.match(misuse('speed'), /speed.*usage/);
  assert.match(misuse(), /usage/);
  assert.match(misuse('proxy', 'proxy'), /usage/);
});

test('lengths that are not whole numbers in range are refused by name of their flag', () => {
  for (const seconds of ['0', '-1', '1.5', '1e3', '', '601', 'x'])
    assert.match(misuse('proxy', `--seconds=${seconds}`), /--seconds must be a whole number from 1 to 600/);
  assert.match(misuse('proxy', '--rounds', '101'), /--rounds must be a whole number from 1 to 100/);
});

test('an unknown flag is refused', () => {
  assert.match(misuse('proxy', '--fast'), /--fast/);
});
