import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outranks } from '../../../../src/gossip/membership/member.ts';
import type { MemberState } from '../../../../src/gossip/port.ts';

const states: MemberState[] = ['alive', 'suspect', 'down', 'left'];

/** Which claims win at a lower, the same and a higher incarnation than what is held. */
const expected: { [held: string]: { [claimed: string]: string } } = {
  alive: { alive: '--w', suspect: '-ww', down: '-ww', left: '-ww' },
  suspect: { alive: '--w', suspect: '--w', down: '-ww', left: '-ww' },
  down: { alive: '--w', suspect: '---', down: '--w', left: '-ww' },
  left: { alive: '--w', suspect: '---', down: '---', left: '--w' },
};

test('every statement outranks exactly what SWIM section 4.2 and the documented divergences say', () => {
  for (const held of states)
    for (const claimed of states) {
      const outcome = [4, 5, 6]
        .map((incarnation) => outranks({ state: claimed, incarnation }, { state: held, incarnation: 5 }))
        .map((wins) => (wins ? 'w' : '-'))
        .join('');
      assert.equal(outcome, expected[held]![claimed], `${claimed} against ${held}`);
    }
});
