/**
 * The little of DER (X.690) that keys and signatures need: definite minimal lengths, single-byte
 * tags, nothing else. Reading is strict, so that one structure has one encoding.
 */
import { type Bytes, concat, owned } from '../bytes.ts'
import { SignetError } from '../errors.ts'

/** Universal and context tags in use. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/** One element: tag, length, content. */
export function der(tag: number, ...content: readonly Uint8Array[]): Bytes {
  const body = concat(...content)
  const length: number[] = []
  for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256)
  const head = body.length < 128 ? [tag, body.length] : [tag, 0x80 | length.length, ...length]
  return concat(Uint8Array.from(head), body)
}

/** A non-negative INTEGER of big-endian bytes, with the fewest octets. */
export function derInteger(magnitude: Uint8Array): Bytes {
  const first = magnitude.findIndex((byte) => byte !== 0)
  const body = first < 0 ? Uint8Array.of(0) : magnitude.subarray(first)
  return der(TAG.integer, body[0]! & 0x80 ? concat(Uint8Array.of(0), body) : body)
}

/** An OBJECT IDENTIFIER of its dotted form. */
export function derOid(dotted: string): Bytes {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const octets = [40 * first + second, ...rest].flatMap((arc) => {
    const base128 = [arc % 128]
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) {
      base128.unshift(0x80 | (high % 128))
    }
    return base128
  })
  return der(TAG.oid, Uint8Array.from(octets))
}

/** Octets of the longest OBJECT IDENTIFIER that is read; the longest seen in certificates has some 30. */
const MAX_OID = 64

/** Reads elements one after the other. Every fault is `der_malformed`. */
export class DerReader {
  #at = 0
  readonly #bytes: Uint8Array
  readonly #what: string

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes
    this.#what = what
  }

  /** An error that names the structure. */
  fail(why: string): never {
    throw new SignetError('der_malformed', `${this.#what}: ${why}`)
  }

  /** The tag of the next element, or undefined at the end. */
  peek(): number | undefined {
    return this.#bytes[this.#at]
  }

  /** The content of the next element, which must have this tag. */
  read(tag: number): Bytes {
    if (this.#bytes[this.#at] !== tag) this.fail(`tag ${tag} expected at byte ${this.#at}`)
    let length = this.#bytes[this.#at + 1] ?? this.fail('it ends in a length')
    let start = this.#at + 2
    if (length >= 0x80) {
      const octets = length - 0x80
      // Four octets are more than any key has; 0x80 is BER's indefinite form.
      if (octets < 1 || octets > 4) this.fail('a length is not DER')
      length = 0
      for (let i = 0; i < octets; i++) {
        length = length * 256 + (this.#bytes[start++] ?? this.fail('it ends in a length'))
      }
      if (length < 128 || length < 256 ** (octets - 1)) this.fail('a length is not minimal')
    }
    if (start + length > this.#bytes.length) this.fail('it is cut off')
    this.#at = start + length
    return owned(this.#bytes.slice(start, this.#at))
  }

  /** A reader over the content of the next element. */
  open(tag: number): DerReader {
    return new DerReader(this.read(tag), this.#what)
  }

  /** The next element whole: tag, length and content. */
  element(tag: number): Bytes {
    // X.690 §8.1.2.4: the tag goes on in the next octet. Nothing that is read here has such a tag.
    if ((tag & 0x1f) === 0x1f) this.fail('a tag has more than one octet')
    const start = this.#at
    this.read(tag)
    return owned(this.#bytes.slice(start, this.#at))
  }

  /** A BOOLEAN. */
  readBoolean(): boolean {
    const body = this.read(TAG.boolean)
    if (body.length !== 1 || (body[0] !== 0 && body[0] !== 0xff)) this.fail('a boolean is not DER')
    return body[0] === 0xff
  }

  /** An OBJECT IDENTIFIER in its dotted form. */
  readOid(): string {
    const body = this.read(TAG.oid)
    if (body.length > MAX_OID) this.fail('an object identifier is too long')
    if (body.length === 0 || body.at(-1)! & 0x80) this.fail('an object identifier is cut off')
    const arcs: bigint[] = []
    let arc = 0n
    let begins = true
    for (const octet of body) {
      if (begins && octet === 0x80) this.fail('an object identifier is padded')
      arc = arc << 7n | BigInt(octet & 0x7f)
      begins = !(octet & 0x80)
      if (!begins) continue
      arcs.push(arc)
      arc = 0n
    }
    // X.690 §8.19.4: the first two arcs share one number, 40 × first + second; first is at most 2.
    const shared = arcs[0]!
    const first = shared < 80n ? shared / 40n : 2n
    return [first, shared - 40n * first, ...arcs.slice(1)].join('.')
  }

  /** The magnitude of a non-negative INTEGER, without leading zeros (zero is one 0 octet). */
  readInteger(): Bytes {
    const body = this.read(TAG.integer)
    if (body.length === 0 || body[0]! & 0x80) this.fail('an integer is negative or empty')
    if (body.length > 1 && body[0] === 0 && !(body[1]! & 0x80)) this.fail('an integer is padded')
    return body.length > 1 && body[0] === 0 ? body.slice(1) : body
  }

  /** A small INTEGER as a number. */
  readNumber(): number {
    const body = this.readInteger()
    if (body.length > 6) this.fail('a number is too large')
    return body.reduce((sum, byte) => sum * 256 + byte, 0)
  }

  /** Checks that nothing follows. */
  end(): void {
    if (this.#at !== this.#bytes.length) this.fail('bytes follow the structure')
  }
}

/** DER `Ecdsa-Sig-Value` (RFC 3279 §2.2.3) of r‖s. */
export function ecdsaToDer(signature: Uint8Array): Bytes {
  const half = signature.length / 2
  return der(
    TAG.sequence,
    derInteger(signature.subarray(0, half)),
    derInteger(signature.subarray(half)),
  )
}

/** r‖s of a DER `Ecdsa-Sig-Value`; each half is padded to half of `length`. */
export function ecdsaFromDer(encoded: Uint8Array, length: number): Bytes {
  const outer = new DerReader(encoded, 'ECDSA signature')
  const pair = outer.open(TAG.sequence)
  outer.end()
  const halves = [pair.readInteger(), pair.readInteger()]
  pair.end()
  const out = new Uint8Array(length)
  halves.forEach((half, i) => {
    if (half.length > length / 2) pair.fail('an integer is longer than the curve')
    out.set(half, (i + 1) * length / 2 - half.length)
  })
  return out
}
