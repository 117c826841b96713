/**
 * SHA-256 of the platform, at once. On short inputs most of the cost is not the hashing but making an
 * object to hold 32 bytes, so digests come as text where that is cheaper, and lie many in one buffer.
 */
import * as crypto from 'node:crypto'
import type { Bytes } from '../src/bytes.ts'

const DIGEST_BYTES = 32
/** Small, because whoever keeps one digest keeps the buffer that it lies in. */
const SLAB_BYTES = 64 * DIGEST_BYTES

/** Values of hexadecimal digits by character code. */
const DIGITS = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = '0123456789abcdef'.indexOf(String.fromCharCode(code))
  return Math.max(0, value)
})

let slab = new Uint8Array(SLAB_BYTES)
let used = 0

function fresh(): Bytes {
  if (used === SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES)
    used = 0
  }
  used += DIGEST_BYTES
  return slab.subarray(used - DIGEST_BYTES, used)
}

function byText(bytes: Uint8Array): Bytes {
  const text = crypto.hash('sha256', bytes, 'hex')
  const digest = fresh()
  for (let i = 0; i < DIGEST_BYTES; i++) {
    digest[i] = DIGITS[text.charCodeAt(2 * i)]! << 4 | DIGITS[text.charCodeAt(2 * i + 1)]!
  }
  return digest
}

/** Bun's own writes into what it is given. */
interface BunSha256 {
  hash(bytes: Uint8Array, into: Uint8Array): unknown
}
const bun = (globalThis as { Bun?: { SHA256?: BunSha256 } }).Bun?.SHA256

function byBun(bytes: Uint8Array): Bytes {
  const digest = fresh()
  bun!.hash(bytes, digest)
  return digest
}

/** SHA-256 of some bytes. */
export const nodeSha256: (bytes: Uint8Array) => Bytes = bun === undefined ? byText : byBun
