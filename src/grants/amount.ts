/**
 * Amounts without drift: a number is taken as the decimal that it is written as (ECMAScript's shortest form, which
 * is also RFC 8785's) and counted as an integer of billionths. So 0.1 + 0.2 is 0.3, and a sum over a million
 * calls is exact. What has more than nine decimals, is negative, or is beyond 2^53 − 1 is no amount.
 */

/** Units in one. */
export const UNITS_IN_ONE: bigint = 1_000_000_000n

const DECIMALS = 9

/** Billionths of an amount; undefined for what is none. */
export function amountUnits(value: unknown): bigint | undefined {
  if (typeof value !== 'number' || !(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) {
    return undefined
  }
  // Small numbers are written with an exponent: 1e-7.
  const [, whole, fraction = '', exponent = '0'] =
    /^(\d+)(?:\.(\d+))?(?:e(-\d+))?$/.exec(String(value)) ?? []
  if (whole === undefined) return undefined
  const shift = DECIMALS + Number(exponent) - fraction.length
  return shift < 0 ? undefined : BigInt(whole + fraction) * 10n ** BigInt(shift)
}
