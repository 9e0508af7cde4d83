/** What the trust benchmark can measure, in the order in which it does. */
export const trustMeasurements = ['pure', 'handshake', 'issue', 'succession'] as const;

export type TrustMeasurement = (typeof trustMeasurements)[number];
