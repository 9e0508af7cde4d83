import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSerfLine, tagLabel } from '../../../../bench/gossip/serf-log.ts';

const line = (text: string): string => `    2026/11/22 23:59:23 ${text}`;

test('serf says who joined, who failed and whom it suspects', () => {
  const cases = [
    ['[INFO] serf: EventMemberJoin: n12 10.77.12.2', { type: 'alive', about: 12 }],
    ['[INFO] serf: EventMemberFailed: n1 10.77.1.2', { type: 'down', about: 1 }],
    ['[INFO] memberlist: Suspect n7 has failed, no acks received', { type: 'suspect', about: 7 }],
  ] as const;
  for (const [text, fact] of cases) assert.deepEqual(parseSerfLine(line(text)), fact);
});

test('a user event is a change by its name, new tags are one by whose they are', () => {
  assert.deepEqual(parseSerfLine(line('[INFO] agent: Received event: user-event: event-3-17')), {
    type: 'change',
    label: 'event-3-17',
  });
  assert.deepEqual(parseSerfLine(line('[INFO] serf: EventMemberUpdate: n4')), {
    type: 'change',
    label: tagLabel(4),
  });
});

test('lines that say nothing new about a member are passed over', () => {
  for (const text of [
    '[INFO] agent: Received event: member-join',
    '[INFO] memberlist: Marking n1 as failed, suspect timeout reached (0 peer confirmations)',
    '[INFO] agent: Join completed. Synced with 1 initial agents',
    '[INFO] serf: EventMemberLeave: n2 10.77.2.2',
  ])
    assert.equal(parseSerfLine(line(text)), null);
  assert.equal(parseSerfLine('==> Serf agent running!'), null);
});
