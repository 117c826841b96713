import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import assert from 'node:assert/strict'
import { fromBase64 } from '../../src/bytes.ts'
import { SignetError } from '../../src/errors.ts'
import {
  verifyConsistency,
  verifyInclusion,
  verifySubtreeConsistency,
  verifySubtreeInclusion,
} from '../../src/log/mod.ts'
import { vectorPath, vectors, vectorTest } from './_vectors.ts'

interface Vector {
  readonly desc: string
  readonly wantErr: boolean
  readonly leafIdx: number
  readonly treeSize: number
  readonly start: number
  readonly end: number
  readonly size: number
  readonly size1: number
  readonly size2: number
  readonly root: string
  readonly root1: string
  readonly root2: string
  readonly leafHash: string
  readonly proof: readonly string[] | null
}

const bytes = (text: string | null) => fromBase64(text ?? '')

/** How each folder's vectors are run. */
const RUN: Record<string, (v: Vector, proof: Uint8Array[]) => void> = {
  inclusion: (v, proof) =>
    verifyInclusion(v.leafIdx, v.treeSize, bytes(v.leafHash), proof, bytes(v.root)),
  consistency: (v, proof) =>
    verifyConsistency(v.size1, v.size2, proof, bytes(v.root1), bytes(v.root2)),
  subtreeinclusion: (v, proof) =>
    verifySubtreeInclusion(v.leafIdx, v, bytes(v.leafHash), proof, bytes(v.root)),
  subtreeconsistency: (v, proof) =>
    verifySubtreeConsistency(v, v.size, proof, bytes(v.root1), bytes(v.root2)),
}

for (const [folder, run] of Object.entries(RUN)) {
  vectorTest(`all ${folder} vectors give the verdict they ask for`, `merkle/${folder}`, () => {
    const files = readdirSync(vectorPath(`merkle/${folder}`), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.json'))
    const verdicts = { accepted: 0, refused: 0 }
    for (const file of files) {
      const v = vectors<Vector>(join('merkle', folder, file))
      const check = () => run(v, (v.proof ?? []).map(bytes))
      if (v.wantErr) {
        assert.throws(check, (e) => e instanceof SignetError && e.code === 'proof_invalid', file)
        verdicts.refused++
      } else {
        assert.doesNotThrow(check, file)
        verdicts.accepted++
      }
    }
    assert.ok(verdicts.accepted > 2 && verdicts.refused > 50, JSON.stringify(verdicts))
  })
}
