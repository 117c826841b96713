import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { fromBase64, toHex, utf8 } from '../../src/bytes.ts'
import {
  formatVkey,
  type NoteScheme,
  noteSigner,
  openNote,
  parseVkey,
  signNote,
} from '../../src/envelope/mod.ts'
import { generateKey, type Key } from '../../src/keys/mod.ts'
import {
  checkPolicy,
  decodeBundle,
  defaultHasher,
  ED25519_COSIGNATURE,
  encodeBundle,
  formatProof,
  formatTreeHead,
  indexPath,
  LOG_SCHEMES,
  ML_DSA_44_COSIGNATURE,
  openCheckpoint,
  parsePolicy,
  parseProof,
  parseTilePath,
  parseTreeHead,
  tilePath,
  verifyProof,
  widthAt,
} from '../../src/log/mod.ts'

const SPEC = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
`
const entry = utf8('an entry')
const root = defaultHasher.leaf(entry)
const HEAD = formatTreeHead({ origin: 'example.com/log', size: 1, root })
const newKey = (scheme?: NoteScheme): Promise<Key> =>
  generateKey(scheme?.algorithm ?? ALGORITHMS['Ed25519'])
const signerOf = async (name: string, scheme?: NoteScheme, seconds = 1_700_000_000) =>
  await noteSigner(name, await newKey(scheme), { scheme, clock: () => seconds * 1000 })

test('parseTreeHead() refuses what is no checkpoint', () => {
  const hash = 'TszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBb0='
  const bad = [
    '',
    'a\n1\n',
    `a\n1\n${hash}`,
    `\n1\n${hash}\n`,
    `a\n0x1\n${hash}\n`,
    `a\n01\n${hash}\n`,
    `a\n-1\n${hash}\n`,
    `a\n1.0\n${hash}\n`,
    `a\n1e3\n${hash}\n`,
    `a\n9007199254740992\n${hash}\n`,
    `a\n18446744073709551615\n${hash}\n`,
    `a\n1\n${hash.slice(1)}\n`,
    `a\n1\nTszzRgjTG6xce+z2AG31kAXYKBgQVtCSCE40HmuwBTOOBIG=\n`,
    `a\n1\n${hash}\n\n`,
    `a\n1\n${hash}\n\nextension\n`,
  ]
  for (const text of bad) {
    assert.throws(() => parseTreeHead(text), { code: 'checkpoint_malformed' }, JSON.stringify(text))
  }
})

test('parseTreeHead() takes the example of the specification, and extension lines', () => {
  const head = parseTreeHead(SPEC)
  assert.equal(head.size, 20852163)
  assert.equal(formatTreeHead(head), SPEC)
  assert.equal(parseTreeHead(`${SPEC}more\nlines\n`).origin, 'example.com/behind-the-sofa')
})

test('openCheckpoint() refuses the key of one log for the checkpoint of another', async () => {
  const [mine, other] = [await signerOf('example.com/log'), await signerOf('example.com/other')]
  const keys = [mine.verifier, other.verifier]
  const crossed = await signNote(HEAD, [other])
  await assert.rejects(openCheckpoint(crossed, keys), { code: 'signer_untrusted' })
  const note = await signNote(HEAD, [mine])
  await assert.rejects(openCheckpoint(note, keys, { origin: 'example.com/other' }), {
    code: 'checkpoint_origin',
  })
  assert.equal((await openCheckpoint(note, keys)).size, 1)
})

test('a cosignature of a witness alone makes no checkpoint', async () => {
  const witness = await signerOf('witness.example/w', ED25519_COSIGNATURE)
  const log = await signerOf('example.com/log')
  const note = await signNote(HEAD, [witness])
  await assert.rejects(
    openCheckpoint(note, [log.verifier], { witnesses: [witness.verifier] }),
    { code: 'signer_untrusted' },
  )
})

test('the message of an Ed25519 cosignature is that of the specification', () => {
  const message = ED25519_COSIGNATURE.message(SPEC, 'witness.example.com/w1', 1679315147)
  assert.equal(new TextDecoder().decode(message), `cosignature/v1\ntime 1679315147\n${SPEC}`)
})

test('the message of an ML-DSA-44 cosignature is laid out as the specification says', () => {
  const message = ML_DSA_44_COSIGNATURE.message(SPEC, 'w.example', 1679315147)
  const expected = [
    toHex(utf8('subtree/v1\n\0')),
    '09' + toHex(utf8('w.example')),
    '00000000641850cb',
    '1b' + toHex(utf8('example.com/behind-the-sofa')),
    '0000000000000000',
    '00000000013e2dc3',
    toHex(fromBase64('CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=')),
  ]
  assert.equal(toHex(message), expected.join(''))
})

for (const [name, scheme] of Object.entries({ ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE })) {
  test(`${name}: time, text and name are covered`, async () => {
    const signer = await signerOf('witness.example/w', scheme)
    const note = await signNote(HEAD, [signer])
    const opened = await openNote(note, [signer.verifier])
    assert.equal(opened.verified[0]!.time, 1_700_000_000)
    assert.equal(
      formatVkey(await parseVkey(formatVkey(signer.verifier), [scheme])),
      formatVkey(signer.verifier),
    )
    const line = note.slice(HEAD.length + 1)
    await assert.rejects(
      openNote(`${HEAD.replace('\n1\n', '\n2\n')}\n${line}`, [signer.verifier]),
      { code: 'signature_invalid' },
    )
    // A bit of the time, of the signature.
    const [dash, key, base64] = line.trim().split(' ')
    for (const at of [11, 40]) {
      const bytes = fromBase64(base64!)
      bytes[at]! ^= 1
      const wrong = `${HEAD}\n${dash} ${key} ${btoa(String.fromCharCode(...bytes))}\n`
      await assert.rejects(openNote(wrong, [signer.verifier]), { code: 'signature_invalid' })
    }
    const short = `${HEAD}\n${dash} ${key} ${base64!.slice(0, 12)}\n`
    await assert.rejects(openNote(short, [signer.verifier]), { code: 'signature_invalid' })
  })
}

test('one key under two types has two ids, and one type is not taken for the other', async () => {
  const key = await newKey()
  const plain = await noteSigner('example.com/log', key)
  const cosigner = await noteSigner('example.com/log', key, { scheme: ED25519_COSIGNATURE })
  assert.notEqual(plain.verifier.id, cosigner.verifier.id)
  const note = await signNote(HEAD, [cosigner])
  await assert.rejects(openNote(note, [plain.verifier]), { code: 'signer_untrusted' })
  await assert.rejects(parseVkey(formatVkey(cosigner.verifier), LOG_SCHEMES), {
    code: 'vkey_malformed',
  })
})

test('paths of tiles are those of the specification', () => {
  assert.equal(indexPath(1234067), 'x001/x234/067')
  assert.equal(indexPath(0), '000')
  assert.equal(indexPath(1000), 'x001/000')
  assert.equal(tilePath({ level: 0, n: 273, width: 112 }), 'tile/0/273.p/112')
  assert.equal(tilePath({ level: 'entries', n: 1, width: 256 }), 'tile/entries/001')
  for (
    const tile of [{ level: 63, n: 1234067, width: 1 }, {
      level: 'entries',
      n: 0,
      width: 256,
    }] as const
  ) {
    assert.deepEqual(parseTilePath(tilePath(tile)), tile)
  }
  const bad = ['tile/0/0', 'tile/00/000', 'tile/64/000', 'tile/0/x000/000', 'tile/0/000.p/0']
  bad.push('tile/0/000.p/256', 'tile/0/000.p/01', 'tile/0/../000', 'tile/0/000/', 'tile/-1/000')
  for (const path of bad) assert.equal(parseTilePath(path), undefined, path)
})

test('a tree of 70 000 has the tiles that the specification counts', () => {
  assert.equal(widthAt(0, 272, 70_000), 256)
  assert.equal(widthAt(0, 273, 70_000), 112)
  assert.equal(widthAt(0, 274, 70_000), 0)
  assert.equal(widthAt(1, 0, 70_000), 256)
  assert.equal(widthAt(1, 1, 70_000), 17)
  assert.equal(widthAt(2, 0, 70_000), 1)
  assert.equal(widthAt(1, 0, 256), 1)
})

test('bundles are length-prefixed entries, and nothing is left over', () => {
  const entries = [utf8('a'), new Uint8Array(), new Uint8Array(65_535).fill(1)]
  const bundle = encodeBundle(entries)
  assert.deepEqual(decodeBundle(bundle, 3, 'b').map(toHex), entries.map(toHex))
  for (const [bytes, width] of [[bundle, 2], [bundle, 4], [bundle.subarray(0, -1), 3]] as const) {
    assert.throws(() => decodeBundle(bytes, width, 'b'), { code: 'log_corrupt', where: 'b' })
  }
  assert.throws(() => encodeBundle([new Uint8Array(65_536)]), { code: 'entry_too_large' })
})

test('parseProof() refuses what is no proof', async () => {
  const note = await signNote(HEAD, [await signerOf('example.com/log')])
  const good = formatProof({ index: 0, hashes: [root], checkpoint: note, extra: utf8('x') })
  assert.equal(parseProof(good).index, 0)
  const bad = [
    '',
    good.replace('@v1', '@v2'),
    good.replace('index 0', 'index 00'),
    good.replace('index 0\n', ''),
    good.replace('extra eA==', 'extra eA='),
    good.replace('extra eA==\nindex 0', 'index 0\nextra eA=='),
    good.replace('\n\n', '\n'),
    formatProof({ index: 0, hashes: Array.from({ length: 64 }, () => root), checkpoint: note }),
    formatProof({ index: 0, hashes: [root.slice(1)], checkpoint: note }),
  ]
  for (const text of bad) {
    assert.throws(() => parseProof(text), { code: 'proof_malformed' }, text.slice(0, 60))
  }
})

test('verifyProof() refuses another entry, another origin, another key and a flipped hash', async () => {
  const signer = await signerOf('example.com/log')
  const two = [entry, utf8('two')].map((one) => defaultHasher.leaf(one))
  const head = { origin: 'example.com/log', size: 2, root: defaultHasher.node(two[0]!, two[1]!) }
  const checkpoint = await signNote(formatTreeHead(head), [signer])
  const proof = { index: 0, hashes: [two[1]!], checkpoint }
  const log = [signer.verifier]
  assert.equal((await verifyProof(formatProof(proof), entry, { log })).checkpoint.size, 2)
  await assert.rejects(verifyProof(proof, utf8('two'), { log }), { code: 'proof_invalid' })
  await assert.rejects(verifyProof({ ...proof, index: 1 }, entry, { log }), {
    code: 'proof_invalid',
  })
  await assert.rejects(verifyProof({ ...proof, hashes: [two[0]!] }, entry, { log }), {
    code: 'proof_invalid',
  })
  await assert.rejects(verifyProof({ ...proof, hashes: [] }, entry, { log }), {
    code: 'proof_invalid',
  })
  await assert.rejects(verifyProof(proof, entry, { log, origin: 'example.com/x' }), {
    code: 'checkpoint_origin',
  })
  const stranger = await signerOf('example.com/log')
  await assert.rejects(verifyProof(proof, entry, { log: [stranger.verifier] }), {
    code: 'signer_untrusted',
  })
})

async function policyText(quorum: string, count = 3) {
  const log = await signerOf('example.com/log')
  const witnesses = await Promise.all(
    Array.from({ length: count }, (_, i) => signerOf(`w${i}.example`, ED25519_COSIGNATURE)),
  )
  const names = witnesses.map((_, i) => `w${i}`)
  const text = [
    '# a policy',
    `log ${formatVkey(log.verifier)}`,
    ...witnesses.map((one, i) =>
      `\twitness w${i}  ${formatVkey(one.verifier)} https://w${i}.example/ `
    ),
    `group two 2 ${names.join(' ')}`,
    `quorum ${quorum}`,
    '',
  ].join('\n')
  return { text, log, witnesses }
}

test('parsePolicy() refuses what the specification forbids, naming the line', async () => {
  const { text, witnesses, log } = await policyText('two')
  const w0 = formatVkey(witnesses[0]!.verifier)
  const bad: [string, string][] = [
    [text.replace('quorum two', ''), 'no quorum line'],
    [text + 'quorum two\n', 'a second quorum line'],
    [text.replace('quorum two', 'quorum three'), 'not defined above'],
    [text.replace('group two 2', 'group two 4'), 'threshold'],
    [text.replace('group two 2', 'group two 0'), 'threshold'],
    [text.replace('group two 2', 'group two +2'), 'threshold'],
    [text.replace('group two 2', 'group w0 2'), 'stands twice'],
    [text.replace('group two 2', 'group none 2'), 'stands twice'],
    [text.replace('w0 w1 w2', 'w0 w0 w1'), 'in a group already'],
    [text.replace('w0 w1 w2', 'w0 w1 none'), 'not defined above'],
    [text.replace('w0 w1 w2', ''), 'a group is'],
    [text.replace('quorum two', `group x all w0\nquorum two`), 'in a group already'],
    [text.replace('# a policy', `witness again ${w0}\nwitness w ${w0}`), 'key stands twice'],
    [text.replace('# a policy', `log ${formatVkey(log.verifier)}`), 'key stands twice'],
    [text.replace('# a policy', 'policy'), 'none of log'],
    [text.replace('# a policy', 'witness x'), 'a witness is'],
    [text.replace('# a policy', '\u000b'), 'control character'],
    [text.replace('# a policy', `log ${w0}`), 'unfit type'],
  ]
  for (const [policy, why] of bad) {
    await assert.rejects(
      parsePolicy(policy),
      (e: Error & { code?: string }) =>
        e.code === 'log_policy_malformed' && e.message.includes(why),
      why,
    )
  }
})

test('a policy of two witnesses of three counts distinct witnesses that verify', async () => {
  const { text, log, witnesses } = await policyText('two')
  const policy = await parsePolicy(text)
  const open = async (...signers: typeof witnesses) =>
    await openCheckpoint(await signNote(HEAD, signers), policy.logs, {
      witnesses: policy.witnesses.map(({ verifier }) => verifier),
    })
  const [w0, , w2] = witnesses
  await assert.rejects(async () => checkPolicy(policy, await open(log)), {
    code: 'witness_quorum',
    message: /w0, w1, w2/,
  })
  await assert.rejects(async () => checkPolicy(policy, await open(log, w0!)), {
    code: 'witness_quorum',
  })
  await assert.rejects(async () => checkPolicy(policy, await open(log, w0!, w0!)), {
    code: 'witness_quorum',
  })
  const stranger = await signerOf('w1.example', ED25519_COSIGNATURE)
  await assert.rejects(async () => checkPolicy(policy, await open(log, w0!, stranger)), {
    code: 'witness_quorum',
  })
  checkPolicy(policy, await open(log, w0!, w2!))
  checkPolicy(await parsePolicy(text.replace('quorum two', 'quorum none')), await open(log))
})

test('a policy of groups of groups is evaluated from the members up', async () => {
  const { text, log, witnesses } = await policyText('both', 4)
  const nested = text.replace(/group.*\n/, 'group x 2 w0 w1 w2\ngroup both all x w3\n')
  const policy = await parsePolicy(nested)
  const open = async (...which: number[]) =>
    await openCheckpoint(
      await signNote(HEAD, [log, ...which.map((i) => witnesses[i]!)]),
      policy.logs,
      { witnesses: policy.witnesses.map(({ verifier }) => verifier) },
    )
  for (const which of [[0, 1, 2], [3], [0, 3]]) {
    await assert.rejects(async () => checkPolicy(policy, await open(...which)), {
      code: 'witness_quorum',
    })
  }
  checkPolicy(policy, await open(0, 2, 3))
})
