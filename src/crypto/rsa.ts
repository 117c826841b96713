/** RSA keys in the structures of RFC 8017 appendix A.1, and their members as a JWK names them (RFC 7518 §6.3). */
import { type Bytes, toHex } from '../bytes.ts'
import { SignetError } from '../errors.ts'
import { der, derInteger, DerReader, TAG } from './der.ts'

/** JWK member names in the order of `RSAPrivateKey`. */
export const RSA_MEMBERS = ['n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi'] as const

/** Big-endian magnitudes, without leading zeros. */
export type RsaNumbers = { readonly [name in typeof RSA_MEMBERS[number]]?: Uint8Array }

/** `RSAPublicKey` in DER. */
export function rsaPublicKey(numbers: RsaNumbers): Bytes {
  return der(TAG.sequence, derInteger(numbers.n!), derInteger(numbers.e!))
}

/** `RSAPrivateKey` (two primes) in DER. */
export function rsaPrivateKey(numbers: RsaNumbers): Bytes {
  const version = derInteger(Uint8Array.of(0))
  return der(TAG.sequence, version, ...RSA_MEMBERS.map((name) => derInteger(numbers[name]!)))
}

/**
 * Members of an `RSAPublicKey` or `RSAPrivateKey`. Moduli below 2048 and above 8192 bits and public
 * exponents below 65537 or even ones are refused (FIPS 186-5 §5.1; the upper bound keeps hostile keys cheap),
 * and so is a private number longer than the modulus: what a platform does with one is not known.
 */
export function rsaNumbers(encoded: Uint8Array, kind: 'public' | 'private'): RsaNumbers {
  const outer = new DerReader(encoded, `RSA ${kind} key`)
  const reader = outer.open(TAG.sequence)
  outer.end()
  if (kind === 'private' && reader.readNumber() !== 0) reader.fail('more than two primes')
  const names = kind === 'public' ? RSA_MEMBERS.slice(0, 2) : RSA_MEMBERS
  const numbers = Object.fromEntries(names.map((name) => [name, reader.readInteger()]))
  reader.end()
  const { n, e } = numbers as { n: Uint8Array; e: Uint8Array }
  const bits = n.length * 8 - Math.clz32(n[0]!) + 24
  if (bits < 2048 || bits > 8192) {
    throw new SignetError('key_malformed', `RSA modulus has ${bits} bits; 2048 to 8192 are taken`)
  }
  if (n.at(-1)! % 2 === 0 || Object.values(numbers).some((number) => number.length > n.length)) {
    throw new SignetError('key_malformed', 'RSA modulus is even, or a number is longer than it')
  }
  // Some platforms sign with primes of another key and leave it to chance what comes out.
  const { p, q } = numbers as { p?: Uint8Array; q?: Uint8Array }
  if (p !== undefined && q !== undefined && big(p) * big(q) !== big(n)) {
    throw new SignetError('key_malformed', 'RSA modulus is not the product of its primes')
  }
  if (e.length < 3 || e.length > 8 || e.at(-1)! % 2 === 0) {
    throw new SignetError('key_malformed', 'RSA public exponent is even, below 65537 or too large')
  }
  return numbers
}

function big(magnitude: Uint8Array): bigint {
  return BigInt(`0x${toHex(magnitude)}`)
}

/** The public half of an `RSAPrivateKey`. */
export function rsaPublicFromPrivate(encoded: Uint8Array): Bytes {
  return rsaPublicKey(rsaNumbers(encoded, 'private'))
}
