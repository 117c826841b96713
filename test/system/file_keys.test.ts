import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { fileKeys, type FileKeysOptions } from '../../backends/file_keys.ts'
import { type AlgorithmName, ALGORITHMS } from '../../src/algorithms.ts'
import { utf8 } from '../../src/bytes.ts'
import {
  formatKeyset,
  generateKey,
  type Key,
  keyring,
  memoryKeys,
  newKeyset,
  parseKeyUri,
  readPublicKeys,
  rotate,
  signMessage,
} from '../../src/keys/mod.ts'
import { keyProviderSuite, refusal } from '../suites/key_provider_suite.ts'
import { type ModesByAlgorithm, modesHere } from '../suites/modes_here.ts'

const PASSPHRASE = 'correct horse battery staple'
/** Cheap, for what is not about the cost. */
const cost = { N: 1024, r: 8, p: 1 }
const isWindows = process.platform === 'win32'
const { 'Ed25519': ed25519, 'ES256': es256 } = ALGORITHMS

function folder(t?: { after(fn: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'signet-keys-'))
  t?.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function sealed(options: FileKeysOptions = {}) {
  return fileKeys({ passphrase: () => PASSPHRASE, cost, ...options })
}

const open = (path: string, options: FileKeysOptions = {}) =>
  sealed(options).open(parseKeyUri(path))

const make = async (path: string, options: FileKeysOptions = {}) =>
  await sealed(options).generate(parseKeyUri(path), ed25519)

async function sameKey(a: Key, b: Key) {
  assert.equal(a.publicKey.id, b.publicKey.id)
  assert.ok(await a.publicKey.verify(utf8('same'), await signMessage(b, utf8('same'))))
}

const { RS256, PS256, ...others } = await modesHere()
const opened: Readonly<Record<'RS256' | 'PS256', ModesByAlgorithm>> = {
  RS256: { ...others, RS256 },
  PS256: { PS256 },
}

for (const [rsa, algorithms] of Object.entries(opened) as ['RS256' | 'PS256', ModesByAlgorithm][]) {
  const root = folder()
  keyProviderSuite({
    name: `fileKeys() with ${rsa}`,
    fixture: () =>
      Promise.resolve({
        provider: sealed({ rsa }),
        uri: (label: string) => `file:${join(root, label)}.pem`,
        secrets: [PASSPHRASE],
        cleanup: () => Promise.resolve(rmSync(root, { recursive: true })),
      }),
    algorithms,
    generates: [...Object.keys(others), rsa] as AlgorithmName[],
    malformedUris: [
      'file:',
      'file://elsewhere.example/key.pem',
      'file:///tmp/key.pem?passphrase=x',
      'file:///tmp/key.pem#x',
      'file:///tmp/a%2Fb.pem',
      'file:///tmp/a%00b.pem',
      'file:///tmp/%zz.pem',
      'file:///tmp/%ff.pem',
    ],
  })
}

test('a key file is encrypted, for its owner only, and its public half is readable', async (t) => {
  const path = join(folder(t), 'key.pem')
  const key = await make(path)
  const text = readFileSync(path, 'utf8')
  assert.match(
    text,
    /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n[^-]+-----END ENCRYPTED PRIVATE KEY-----\n-----BEGIN PUBLIC KEY-----\n[^-]+-----END PUBLIC KEY-----\n$/,
  )
  if (!isWindows) assert.equal(statSync(path).mode & 0o777, 0o600)
  const [published] = await readPublicKeys(text)
  assert.equal(published!.id, key.publicKey.id)
  await sameKey(key, await open(path))
})

test('a new key needs a passphrase, and without one no file comes to be', async (t) => {
  const root = folder(t)
  const uri = parseKeyUri(join(root, 'key.pem'))
  for (const passphrase of [undefined, () => undefined, () => '', () => Promise.resolve('')]) {
    const provider = fileKeys({ passphrase })
    await assert.rejects(provider.generate(uri, ed25519), { code: 'passphrase_required' })
  }
  assert.deepEqual(readdirSync(root), [])
})

test('a clear key is written and opened only when asked for by its ugly name', async (t) => {
  const path = join(folder(t), 'key.pem')
  const clear = { insecureClearKey: true, passphrase: undefined }
  const key = await make(path, clear)
  assert.match(readFileSync(path, 'utf8'), /^-----BEGIN PRIVATE KEY-----/)
  if (!isWindows) assert.equal(statSync(path).mode & 0o777, 0o600)
  await sameKey(key, await open(path, clear))
  await assert.rejects(open(path), { code: 'usage_invalid', where: path })
  // A passphrase wins over the permission to do without.
  const other = path + '2'
  await make(other, { insecureClearKey: true })
  assert.match(readFileSync(other, 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
})

test('generate() refuses before it asks for a passphrase', async (t) => {
  const root = folder(t)
  const path = join(root, 'there')
  let asked = 0
  const provider = sealed({ passphrase: () => (asked++, PASSPHRASE) })
  writeFileSync(path, 'mine')
  if (!isWindows) symlinkSync(join(root, 'nowhere'), join(root, 'dangling'))
  for (const name of isWindows ? ['there'] : ['there', 'dangling', '.']) {
    const uri = parseKeyUri(join(root, name))
    await assert.rejects(provider.generate(uri, ed25519), { code: 'file_exists' })
  }
  assert.equal(asked, 0)
  assert.equal(readFileSync(path, 'utf8'), 'mine')
  assert.equal(existsSync(join(root, 'nowhere')), false)
})

test('generate() says when the folder is not there, and leaves no temporary file', async (t) => {
  const root = folder(t)
  const path = join(root, 'no', 'key.pem')
  await assert.rejects(make(path), { code: 'io_failed', where: path })
  await make(join(root, 'key.pem'))
  assert.deepEqual(readdirSync(root), ['key.pem'])
})

test('the passphrase is asked for once, with the path, and only when the key is encrypted', async (t) => {
  const root = folder(t)
  const paths: string[] = []
  const passphrase = (path: string) => (paths.push(path), PASSPHRASE)
  const path = join(root, 'key.pem')
  await make(path, { passphrase })
  assert.deepEqual(paths, [path])
  await open(path, { passphrase })
  assert.deepEqual(paths, [path, path])
  const clear = join(root, 'clear.pem')
  await make(clear, { passphrase: undefined, insecureClearKey: true })
  await open(clear, { passphrase, insecureClearKey: true })
  assert.deepEqual(paths, [path, path])
})

test('a wrong, empty or missing passphrase opens nothing and is not shown', async (t) => {
  const path = join(folder(t), 'key.pem')
  await make(path)
  const wrong = 'tr0ub4dor&3'
  const opening = open(path, { passphrase: () => wrong })
  const error = await refusal({ secrets: [wrong, PASSPHRASE] }, opening, 'passphrase_wrong')
  assert.equal(error.where, path)
  for (const passphrase of [undefined, () => undefined, () => '']) {
    await assert.rejects(open(path, { passphrase }), { code: 'passphrase_required', where: path })
  }
})

test('an altered key file opens nothing', async (t) => {
  const root = folder(t)
  const path = join(root, 'key.pem')
  await make(path)
  const other = join(root, 'other.pem')
  await make(other)
  const [text, foreign] = [readFileSync(path, 'utf8'), readFileSync(other, 'utf8')]
  const at = text.indexOf('-----BEGIN PUBLIC')
  const swapped = text.slice(0, at) + foreign.slice(foreign.indexOf('-----BEGIN PUBLIC'))
  writeFileSync(path, swapped)
  await assert.rejects(open(path), { code: 'key_mismatch' })
  writeFileSync(path, text.slice(0, at))
  assert.ok(await open(path), 'the public block may be missing')
  writeFileSync(path, text.slice(at))
  await assert.rejects(open(path), { code: 'key_malformed' })
  writeFileSync(path, text.slice(0, 100))
  await assert.rejects(open(path), { code: 'pem_malformed' })
  writeFileSync(path, '')
  await assert.rejects(open(path), { code: 'pem_malformed' })
  writeFileSync(path, Uint8Array.of(0xff, 0xfe))
  await assert.rejects(open(path), { code: 'encoding_invalid' })
  writeFileSync(path, '{')
  await assert.rejects(open(path), { code: 'json_malformed', where: '1' })
  writeFileSync(path, '{"kty":"OKP"}')
  await assert.rejects(open(path), { code: 'algorithm_unsupported' })
})

test('what cannot be read is told apart from what is not there', async (t) => {
  const root = folder(t)
  const file = join(root, 'file')
  writeFileSync(file, '')
  await assert.rejects(open(join(root, 'absent')), { code: 'key_not_found' })
  await assert.rejects(open(root), { code: 'file_unreadable', where: root })
  if (!isWindows) await assert.rejects(open(join(file, 'below')), { code: 'key_not_found' })
  writeFileSync(file, new Uint8Array(8 * 2 ** 20 + 1))
  await assert.rejects(open(file), { code: 'too_large', where: file })
})

test('endless files are refused', { skip: isWindows }, async () => {
  await assert.rejects(open('/dev/zero'), { code: 'too_large' })
})

test('a clear key that others can get at is refused', { skip: isWindows }, async (t) => {
  const path = join(folder(t), 'key.pem')
  const clear = { insecureClearKey: true, passphrase: undefined }
  await make(path, clear)
  const isRoots = statSync(path).uid === 0
  for (const mode of [0o644, 0o604, 0o602, 0o620, 0o660, 0o777, ...isRoots ? [] : [0o640]]) {
    chmodSync(path, mode)
    await assert.rejects(open(path, clear), { code: 'key_exposed', where: path }, mode.toString(8))
  }
  // What is root's may be its group's: secrets mounted into containers are.
  for (const mode of [0o600, 0o400, 0o700, ...isRoots ? [0o640, 0o440] : []]) {
    chmodSync(path, mode)
    assert.ok(await open(path, clear), mode.toString(8))
  }
})

test(
  'of an encrypted key that others can read, a warning tells',
  { skip: isWindows },
  async (t) => {
    const path = join(folder(t), 'key.pem')
    await make(path)
    const warnings: string[] = []
    const warn = (message: string) => void warnings.push(message)
    await open(path, { warn })
    assert.equal(warnings.length, 0)
    chmodSync(path, 0o644)
    await open(path, { warn })
    assert.equal(warnings.length, 1)
    assert.match(warnings.join(), /^\/.*mode 0644/)
    await open(path)
  },
)

test('paths are literal, and file:// URLs are percent-decoded', async (t) => {
  const root = folder(t)
  const path = join(root, isWindows ? 'a %20b.pem' : 'a %20b?c#d;e=f.pem')
  const key = await make(path)
  assert.ok(existsSync(path))
  for (const uri of [path, `file:${path}`, `FILE:${path}`, pathToFileURL(path).href]) {
    await sameKey(key, await open(uri))
  }
  await assert.rejects(open(`file:${encodeURI(path)}`), { code: 'key_not_found' })
  const url = pathToFileURL(path).href.replace('file://', 'file://localhost')
  await sameKey(key, await open(url))
  const here = relative(process.cwd(), path)
  await sameKey(key, await open(here))
  await sameKey(key, await open(`file:${here}`))
})

test('a JWK in a file opens, and a public one or a set of two does not', async (t) => {
  const path = join(folder(t), 'key.jwk')
  const options = { insecureClearKey: true }
  // RFC 8037 appendix A.1
  const jwk = {
    kty: 'OKP',
    crv: 'Ed25519',
    x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
    d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A',
  }
  const { d: _, ...shared } = jwk
  const write = (value: unknown) => writeFileSync(path, JSON.stringify(value), { mode: 0o600 })
  write(jwk)
  const key = await open(path, options)
  assert.equal(key.publicKey.id, 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k')
  await assert.rejects(open(path), { code: 'usage_invalid' })
  write({ keys: [jwk] })
  await sameKey(key, await open(path, options))
  write({ keys: [jwk, jwk] })
  await assert.rejects(open(path, options), { code: 'key_malformed' })
  write(shared)
  await assert.rejects(open(path, options), { code: 'key_malformed' })
  write({ keys: [] })
  await assert.rejects(open(path, options), { code: 'key_malformed' })
})

test('a keyset opens its primary key, wherever the process stands', async (t) => {
  const root = folder(t)
  mkdirSync(join(root, 'keys'))
  const path = join(root, 'keys', 'new.pem')
  const [old, key] = [await make(join(root, 'keys', 'old.pem')), await make(path)]
  const keyset = join(root, 'keyset.json')
  const write = (uri?: string) => {
    const first = newKeyset('me', old.publicKey, 'keys/old.pem')
    writeFileSync(keyset, formatKeyset(rotate(first, key.publicKey, uri)))
  }
  for (const uri of ['keys/new.pem', 'file:keys/new.pem', path, pathToFileURL(path).href]) {
    write(uri)
    await sameKey(key, await open(keyset))
  }
  const paths: string[] = []
  await open(keyset, { passphrase: (path) => (paths.push(path), PASSPHRASE) })
  assert.deepEqual(paths, [path])
  write()
  await assert.rejects(open(keyset), { code: 'key_not_found', where: keyset })
  write('keys/absent.pem')
  await assert.rejects(open(keyset), { code: 'key_not_found' })
})

test('a keyset whose URI leads to another key is refused', async (t) => {
  const root = folder(t)
  const key = await make(join(root, 'a.pem'))
  await make(join(root, 'b.pem'))
  const keyset = join(root, 'keyset.json')
  writeFileSync(keyset, formatKeyset(newKeyset('me', key.publicKey, 'b.pem')))
  await assert.rejects(open(keyset), { code: 'key_mismatch', where: keyset })
})

test('a keyset does not lead to a keyset, nor to itself', async (t) => {
  const root = folder(t)
  const key = await make(join(root, 'key.pem'))
  const inner = join(root, 'inner.json')
  const outer = join(root, 'outer.json')
  writeFileSync(inner, formatKeyset(newKeyset('me', key.publicKey, 'key.pem')))
  for (const target of ['inner.json', 'outer.json']) {
    writeFileSync(outer, formatKeyset(newKeyset('me', key.publicKey, target)))
    await assert.rejects(open(outer), { code: 'keyset_malformed', where: outer })
  }
})

test('a keyset whose primary key is missing or out of its time opens nothing', async (t) => {
  const root = folder(t)
  const { publicKey: key } = await make(join(root, 'key.pem'))
  const keyset = join(root, 'keyset.json')
  const uri = 'key.pem'
  const member = { key, status: 'primary', uri, notBefore: 1000, notAfter: 2000 } as const
  const write = (change: object) =>
    writeFileSync(keyset, formatKeyset({ name: 'me', members: [{ ...member, ...change }] }))
  write({})
  await assert.rejects(open(keyset, { now: () => 999 }), { code: 'key_not_yet_valid' })
  await assert.rejects(open(keyset, { now: () => 2000 }), { code: 'key_expired' })
  await assert.rejects(open(keyset), { code: 'key_expired' })
  for (const time of [1000, 1999]) assert.ok(await open(keyset, { now: () => time }))
  write({ status: 'verify-only' })
  await assert.rejects(open(keyset, { now: () => 1500 }), { code: 'key_not_found' })
  write({ status: 'revoked', revokedAt: 1 })
  await assert.rejects(open(keyset, { now: () => 1500 }), { code: 'key_not_found' })
})

test('a keyset opens a primary key of another store through the keyring', async (t) => {
  const root = folder(t)
  const keyset = join(root, 'keyset.json')
  const memory = memoryKeys()
  const key = await memory.generate(parseKeyUri('memory:mine'), es256)
  writeFileSync(keyset, formatKeyset(newKeyset('me', key.publicKey, 'memory:mine')))
  const ring = keyring(memory, fileKeys({ open: (uri, options) => ring.open(uri, options) }))
  await sameKey(key, await ring.open(keyset))
  await assert.rejects(open(keyset), { code: 'uri_malformed', where: keyset })
  // Another key than the member's, from another store: refused and closed.
  let closed = 0
  const foreign = await generateKey(es256)
  const close = () => Promise.resolve(void closed++)
  const wrong = { open: () => Promise.resolve({ ...foreign, close }) }
  await assert.rejects(open(keyset, wrong), { code: 'key_mismatch' })
  assert.equal(closed, 1)
})

test('a keyset tells which scheme its RSA key signs with', async (t) => {
  const root = folder(t)
  const path = join(root, 'key.pem')
  const provider = sealed({ rsa: 'PS256' })
  const key = await provider.generate(parseKeyUri(path), ALGORITHMS.PS256)
  writeFileSync(join(root, 'keyset.json'), formatKeyset(newKeyset('me', key.publicKey, 'key.pem')))
  const opened = await open(join(root, 'keyset.json'))
  assert.equal(opened.publicKey.algorithm, ALGORITHMS.PS256)
  assert.equal((await open(path)).publicKey.algorithm, ALGORITHMS.RS256)
})

test('a key file costs what it should when nothing is said', async (t) => {
  const path = join(folder(t), 'key.pem')
  const provider = fileKeys({ passphrase: () => PASSPHRASE })
  const key = await provider.generate(parseKeyUri(path), ed25519)
  await sameKey(key, await provider.open(parseKeyUri(path)))
  // OCTET STRING of 16 bytes of salt, then INTEGER 2^14, 8, 8, 32.
  const body = readFileSync(path, 'utf8').split('-----')[2]!
  const hex = Buffer.from(body, 'base64').toString('hex')
  assert.match(hex, /0410[0-9a-f]{32}02024000020108020108020120/)
})
