import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nodeSha256 } from '../../backends/node_sha256.ts'
import { toHex } from '../../src/bytes.ts'
import { portableSha256 } from '../../src/log/mod.ts'

test('nodeSha256() gives what the portable one gives, and no digest changes with the next', () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i * 7)
  // More than lie in one buffer, of every length around the blocks of SHA-256, from any offset.
  const inputs = Array.from({ length: 300 }, (_, i) => bytes.subarray(i % 5, i % 5 + i))
  const digests = inputs.map(nodeSha256)
  assert.deepEqual(
    digests.map(toHex),
    inputs.map((input) => toHex(portableSha256(input))),
  )
  assert.ok(
    digests.every((digest) => digest.length === 32 && digest.slice().buffer.byteLength === 32),
  )
})
