/** Names for tokens: UUIDv7 (RFC 9562 §5.7), so that they sort by the time they were made. */
import { toHex } from '../bytes.ts'

/** A fresh UUIDv7 of a time in milliseconds. */
export function uuid7(ms: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  new DataView(bytes.buffer).setUint16(0, Math.floor(ms / 2 ** 32))
  new DataView(bytes.buffer).setUint32(2, ms % 2 ** 32)
  bytes[6] = 0x70 | bytes[6]! & 0x0f
  bytes[8] = 0x80 | bytes[8]! & 0x3f
  const hex = toHex(bytes)
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)]
    .join('-')
}
