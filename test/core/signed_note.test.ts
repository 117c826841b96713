import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { concat, fromBase64, toBase64, utf8 } from '../../src/bytes.ts'
import {
  formatVkey,
  noteSigner,
  noteVerifier,
  openNote,
  parseNote,
  parseVkey,
  signNote,
} from '../../src/envelope/mod.ts'
import { generateKey } from '../../src/keys/mod.ts'

// The example of C2SP signed-note.
const EXAMPLE_VKEY = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k'
const EXAMPLE = `This is an example message.

\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`
// Keys and signatures of golang/mod sumdb/note, its cases restated.
const PETER = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
const ENOCH = 'EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop'
const TEXT =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
const PETER_LINE =
  '\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n'
const ENOCH_LINE =
  '\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n'

test('parseNote() refuses what is no note', () => {
  const bad: (string | Uint8Array)[] = [
    '',
    '\n\n',
    TEXT,
    `${TEXT}\n`,
    `${TEXT}\n${PETER_LINE.slice(0, -1)}`,
    `${TEXT}${PETER_LINE}`,
    `\u0001${TEXT}\n${PETER_LINE}`,
    `\t${TEXT}\n${PETER_LINE}`,
    `${TEXT}\r\n\n${PETER_LINE}`,
    `\ud800${TEXT}\n${PETER_LINE}`,
    `${TEXT}\n\u2014 Bad Name ${PETER_LINE.split(' ')[2]}`,
    `${TEXT}\n\u2014 Bad+Name ${PETER_LINE.split(' ')[2]}`,
    `${TEXT}\n\u2014 Bad\u00a0Name ${PETER_LINE.split(' ')[2]}`,
    `${TEXT}\n\u2014  ${PETER_LINE.split(' ')[2]}`,
    `${TEXT}\n- PeterNeumann ${PETER_LINE.split(' ')[2]}`,
    `${TEXT}\n${PETER_LINE}Unexpected line.\n`,
    `${TEXT}\n${PETER_LINE}\n`,
    `${TEXT}\n\u2014 PeterNeumann x08gow==\n`,
    `${TEXT}\n${PETER_LINE.replace('=\n', '\n')}`,
    `${TEXT}\n${PETER_LINE.replace(' x0', '  x0')}`,
  ]
  for (const note of bad) {
    assert.throws(() => parseNote(note), { code: 'note_malformed' }, JSON.stringify(note))
  }
  assert.throws(() => parseNote(concat(Uint8Array.of(255), utf8(`${TEXT}\n${PETER_LINE}`))), {
    code: 'encoding_invalid',
  })
})

test('parseNote() refuses a note with 100 junk signatures and takes one with 32', () => {
  assert.throws(() => parseNote(`${TEXT}\n${PETER_LINE.repeat(100)}`), { code: 'note_malformed' })
  assert.throws(() => parseNote(`${TEXT}\n${PETER_LINE.repeat(33)}`), { code: 'note_malformed' })
  assert.equal(parseNote(`${TEXT}\n${PETER_LINE.repeat(32)}`).signatures.length, 32)
  assert.throws(() => parseNote('x'.repeat(2 ** 20 + 1)), { code: 'too_large' })
})

test('openNote() refuses a note that no known key signed', async () => {
  await assert.rejects(openNote(EXAMPLE, []), { code: 'signer_untrusted' })
  await assert.rejects(openNote(EXAMPLE, [await parseVkey(PETER)]), { code: 'signer_untrusted' })
})

test('openNote() refuses the whole note if a known key fails, whoever else signed', async () => {
  const [peter, enoch] = [await parseVkey(PETER), await parseVkey(ENOCH)]
  const forged = PETER_LINE.replace('SffcvIAQ', 'SffcvIAR')
  await assert.rejects(openNote(`${TEXT}\n${ENOCH_LINE}${forged}`, [peter, enoch]), {
    code: 'signature_invalid',
    where: 'PeterNeumann',
  })
  await assert.rejects(openNote(`${TEXT}x\n\n${PETER_LINE}`, [peter]), {
    code: 'signature_invalid',
  })
  const { unknown } = await openNote(`${TEXT}\n${ENOCH_LINE}${forged}`, [enoch])
  assert.equal(unknown, 1)
})

test('openNote() takes the specification and sumdb examples', async () => {
  const example = await openNote(utf8(EXAMPLE), [await parseVkey(EXAMPLE_VKEY)])
  assert.equal(example.text, 'This is an example message.\n')
  const [peter, enoch] = [await parseVkey(PETER), await parseVkey(ENOCH)]
  const both = await openNote(`${TEXT}\n${PETER_LINE}${ENOCH_LINE}`, [peter, enoch])
  assert.deepEqual(both.verified.map(({ verifier }) => verifier.name), [
    'PeterNeumann',
    'EnochRoot',
  ])
  assert.deepEqual(both.verified.map(({ line }) => line), [PETER_LINE, ENOCH_LINE])
  const one = await openNote(`${TEXT}\n${PETER_LINE}${ENOCH_LINE}`, [peter])
  assert.equal(one.verified.length, 1)
  assert.equal(one.unknown, 1)
  const twice = await openNote(`${TEXT}\n${PETER_LINE}${PETER_LINE}`, [peter])
  assert.equal(twice.verified.length, 1)
})

test('the text of a note may hold empty lines', async () => {
  const key = await generateKey(ALGORITHMS['Ed25519'])
  const signer = await noteSigner('example.com/a', key)
  const note = await signNote('one\n\ntwo\n\n\n', [signer])
  assert.equal((await openNote(note, [signer.verifier])).text, 'one\n\ntwo\n\n\n')
})

test('parseVkey() refuses every part and every mangling of a key', async () => {
  for (let i = 0; i <= PETER.length; i++) {
    for (let j = i + 1; j <= PETER.length; j++) {
      if (i === 0 && j === PETER.length) continue
      await assert.rejects(parseVkey(PETER.slice(i, j)), { code: 'vkey_malformed' })
    }
  }
  for (let i = 0; i < PETER.length; i++) {
    const wrong = PETER.slice(0, i) + String.fromCharCode(PETER.charCodeAt(i) + 1) +
      PETER.slice(i + 1)
    await assert.rejects(parseVkey(wrong), { code: 'vkey_malformed' }, wrong)
  }
  for (
    const wrong of [
      'PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==',
      'PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
      PETER.toUpperCase(),
      `${PETER}=`,
      `${PETER}\n`,
    ]
  ) await assert.rejects(parseVkey(wrong), { code: 'vkey_malformed' }, wrong)
})

test('formatVkey() writes what parseVkey() reads', async () => {
  for (const text of [PETER, ENOCH, EXAMPLE_VKEY]) {
    assert.equal(formatVkey(await parseVkey(text)), text)
  }
})

test('noteVerifier() refuses names that no note can carry, and keys of other algorithms', async () => {
  const { publicKey } = await generateKey(ALGORITHMS['Ed25519'])
  for (const name of ['', 'a b', 'a+b', 'a\nb', 'a\u2003b', '\ud800']) {
    await assert.rejects(noteVerifier(name, publicKey), { code: 'vkey_malformed' })
  }
  const ecdsa = await generateKey(ALGORITHMS['ES256'])
  await assert.rejects(noteVerifier('a', ecdsa.publicKey), { code: 'algorithm_mismatch' })
})

test('a signature of another key under the same name is not believed', async () => {
  const [a, b] = await Promise.all([0, 1].map(() => generateKey(ALGORITHMS['Ed25519'])))
  const signer = await noteSigner('example.com/a', a!)
  const other = await noteVerifier('example.com/a', b!.publicKey)
  const note = await signNote('text\n', [signer])
  await assert.rejects(openNote(note, [other]), { code: 'signer_untrusted' })
  // Even with the other key's id written over it.
  const line = parseNote(note).signatures[0]!
  const id = Uint8Array.from(
    { length: 4 },
    (_, i) => parseInt(other.id.slice(2 * i, 2 * i + 2), 16),
  )
  const moved = `text\n\n\u2014 example.com/a ${toBase64(concat(id, line.signature))}\n`
  await assert.rejects(openNote(moved, [other]), { code: 'signature_invalid' })
  assert.equal(fromBase64(toBase64(line.signature)).length, 64)
})
