/**
 * What an earlier prototype of the same protocol, built on the library's FROST, was measured at on a machine of
 * this kind: two cores, everything on them. Not run here; a figure beside one of these is no live comparison.
 * Of each range the lower end.
 */
export const earlierPrototype = 'earlier prototype, not run now';

/** CPU milliseconds a host to receive and verify a resharing, by `k/n`. */
export const earlierReshareMs: { readonly [size: string]: number | undefined } = {
  '3/5': 13,
  '5/9': 32,
  '7/13': 79,
};

/** Milliseconds from asking to having a certificate, by `k/n`: the median. */
export const earlierIssuanceMs: { readonly [size: string]: number | undefined } = {
  '3/5': 70,
  '5/9': 178,
  '7/13': 280,
};

/** Certificates a second with all processes on the two cores, by `k/n`: here the upper end, which is the better. */
export const earlierIssuancesPerSecond: { readonly [size: string]: number | undefined } = {
  '3/5': 20,
  '5/9': 8,
  '7/13': 4,
};
