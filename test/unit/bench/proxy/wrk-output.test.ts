import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWrk } from '../../../../bench/proxy/wrk-output.ts';

const report = `Running 5s test @ http://127.0.1.41:9180/small
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.49ms    1.22ms  28.58ms   84.60%
    Req/Sec    13.28k     1.71k   17.52k    70.00%
  53498 requests in 4.05s, 24.23MB read
Requests/sec:  13209.38
Transfer/sec:      5.98MB
`;

test('a report gives the requests, the time and the rate', () => {
  assert.deepEqual(parseWrk(report), {
    requests: 53498,
    seconds: 4.05,
    requestsPerSecond: 13209.38,
    failed: 0,
  });
});

test('socket errors and answers that are not 2xx or 3xx count as failed', () => {
  const troubled = report.replace(
    'Requests/sec',
    '  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 50000\nRequests/sec',
  );
  assert.equal(parseWrk(troubled).failed, 54321);
});

test('a time in minutes or milliseconds becomes seconds', () => {
  assert.equal(parseWrk(report.replace('in 4.05s', 'in 1.50m')).seconds, 90);
  assert.equal(parseWrk(report.replace('in 4.05s', 'in 250.00ms')).seconds, 0.25);
});

test('anything but a finished report is an error that quotes it', () => {
  assert.throws(
    () => parseWrk('unable to connect to 127.0.1.41:9180 Connection refused'),
    /Connection refused/,
  );
  assert.throws(() => parseWrk(''), /nothing/);
});
