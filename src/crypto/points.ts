/**
 * Which bytes are the public key of a curve. Platforms disagree: Deno takes EC points that are not on their
 * curve; Deno and Bun take Ed25519 points of small order, under which everybody can sign (with one of them,
 * one signature holds for every message); Bun takes second encodings of a point. So it is settled here, when
 * a key is read, and alike everywhere. Public values only: nothing here needs constant time.
 */
import { toHex } from '../bytes.ts'

/** y² = x³ − 3x + b over p (SP 800-186 §3.2.1). */
interface Curve {
  readonly p: bigint
  readonly b: bigint
}

const CURVES: Readonly<Record<string, Curve>> = {
  'P-256': {
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
  },
  'P-384': {
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
  },
  'P-521': {
    p: 2n ** 521n - 1n,
    b: 0x51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
  },
}

/** True for an uncompressed point of a curve, by its JWK name, with coordinates below p (SEC 1 §3.2.2.1). */
export function isCurvePoint(curve: string, publicKey: Uint8Array): boolean {
  const { p, b } = CURVES[curve]!
  const half = (publicKey.length - 1) / 2
  const [x, y] = [number(publicKey.subarray(1, 1 + half)), number(publicKey.subarray(1 + half))]
  return publicKey[0] === 4 && x < p && y < p && (y * y - (x * x * x - 3n * x + b)) % p === 0n
}

const P25519 = 2n ** 255n - 19n
const D25519 = 0x52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3n

/** y of the points of order 1, 2, 4 and 8. Both signs of x are meant. */
const SMALL_ORDER: readonly bigint[] = [
  1n,
  P25519 - 1n,
  0n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
]

/**
 * True for the canonical encoding (RFC 8032 §5.1.3) of a point of Ed25519 that is not of small order. Whether
 * a component of small order was added to a good point it does not see.
 */
export function isEd25519Point(publicKey: Uint8Array): boolean {
  const bytes = publicKey.slice().reverse()
  bytes[0]! &= 0x7f // the sign of x
  const y = number(bytes)
  if (publicKey.length !== 32 || y >= P25519 || SMALL_ORDER.includes(y)) return false
  // x² = (y² − 1) / (d·y² + 1): the quotient is a square just when the product is.
  return isSquare((y * y - 1n) * (D25519 * y * y + 1n) % P25519)
}

/**
 * Euler's criterion for a value that is not 0: its power (p − 1) / 2 = 2^254 − 10. The exponent has a one in nearly
 * every bit, so powers 2^n − 1 are doubled up (as RFC 8032 implementations do to take roots): half the products.
 */
function isSquare(value: bigint): boolean {
  const squared = (base: bigint, times: number) => {
    for (let i = 0; i < times; i++) base = base * base % P25519
    return base
  }
  const times = (a: bigint, b: bigint) => a * b % P25519
  /** From the powers 2^a − 1 and 2^b − 1 the one 2^(a+b) − 1. */
  const join = (high: bigint, low: bigint, lowBits: number) => times(squared(high, lowBits), low)
  const two = times(value, squared(value, 1)) // 2^2 − 1
  const five = join(join(two, two, 2), value, 1)
  const ten = join(five, five, 5)
  const twenty = join(ten, ten, 10)
  const forty = join(twenty, twenty, 20)
  const fifty = join(forty, ten, 10)
  const hundred = join(fifty, fifty, 50)
  const all = join(join(hundred, hundred, 100), fifty, 50) // 2^250 − 1
  // 2^254 − 10 = 16 · (2^250 − 1) + 6
  return times(squared(all, 4), squared(two, 1)) === 1n
}

function number(bigEndian: Uint8Array): bigint {
  return BigInt(`0x0${toHex(bigEndian)}`)
}
