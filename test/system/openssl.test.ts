/** Key files and signatures, to and from OpenSSL and Python's `cryptography`. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileKeys, type FileKeysOptions } from '../../backends/file_keys.ts'
import { type AlgorithmName, ALGORITHMS } from '../../src/algorithms.ts'
import { utf8 } from '../../src/bytes.ts'
import { ecdsaFromDer, ecdsaToDer } from '../../src/crypto/mod.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { type Key, parseKeyUri, readPublicKeys, toPublicPem } from '../../src/keys/mod.ts'

const PASSPHRASE = 'pässwörd €1'
/** Cheap, where the cost is not the point. */
const cost = { N: 1024, r: 8, p: 1 }
const MESSAGE = utf8('message for OpenSSL')
/** What OpenSSL 3.0 knows; ML-DSA came with 3.5, the composite with none. */
const CLASSICAL = ['Ed25519', 'ES256', 'ES384', 'ES512', 'RS256'] as const

const isAbsent = spawnSync('openssl', ['version']).status !== 0
const skip = isAbsent && process.env.CI !== 'true' && 'no openssl on this machine'

function withOpenssl(name: string, fn: (folder: string) => Promise<void>): void {
  test(`OpenSSL: ${name}`, { skip }, () => inFolder(fn))
}

async function inFolder(fn: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'signet-openssl-'))
  try {
    writeFileSync(join(folder, 'pass'), PASSPHRASE)
    writeFileSync(join(folder, 'msg'), MESSAGE)
    await fn(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Runs a program in a folder; what it says must be a success. */
function run(folder: string, program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  assert.equal(status, 0, `${program} ${args.join(' ')}\n${stderr}${error ?? ''}`)
  return stdout
}

const openssl = (folder: string, line: string) => run(folder, 'openssl', ...line.split(' '))

function open(path: string, options: FileKeysOptions = {}): Promise<Key> {
  return fileKeys({ passphrase: () => PASSPHRASE, ...options }).open(parseKeyUri(path))
}

async function make(
  path: string,
  name: AlgorithmName,
  options: FileKeysOptions = {},
): Promise<Key> {
  const provider = fileKeys({ passphrase: () => PASSPHRASE, ...options })
  return await provider.generate(parseKeyUri(path), ALGORITHMS[name])
}

/** How OpenSSL makes a PKCS#8 file of each algorithm. */
const GENERATE: Readonly<Record<typeof CLASSICAL[number], string>> = {
  Ed25519: 'genpkey -algorithm ED25519',
  ES256: 'genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256',
  ES384: 'genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384',
  ES512: 'genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521',
  RS256: 'genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048',
}

for (const name of CLASSICAL) {
  withOpenssl(`it opens our ${name} key file`, async (folder) => {
    const options = name === 'Ed25519' ? {} : { cost }
    const key = await make(join(folder, 'ours.pem'), name, options)
    const read = openssl(folder, 'pkey -in ours.pem -passin file:pass -pubout')
    assert.equal(read, toPublicPem(key.publicKey))
    // What stands beside the private key is what it says.
    assert.equal(openssl(folder, 'pkey -in ours.pem -pubin -pubout'), read)
    const wrong = spawnSync('openssl', ['pkey', '-in', 'ours.pem', '-passin', 'pass:wrong'], {
      cwd: folder,
    })
    assert.notEqual(wrong.status, 0)
  })

  withOpenssl(`its ${name} key file opens here, and signatures go both ways`, async (folder) => {
    openssl(folder, `${GENERATE[name]} -out clear.pem`)
    openssl(folder, 'pkcs8 -topk8 -in clear.pem -out theirs.pem -passout file:pass')
    openssl(folder, 'pkey -in clear.pem -pubout -out pub.pem')
    const key = await open(join(folder, 'theirs.pem'))
    const [published] = await readPublicKeys(readFileSync(join(folder, 'pub.pem')))
    assert.equal(key.publicKey.id, published!.id)
    assert.equal(
      (await open(join(folder, 'clear.pem'), { insecureClearKey: true })).publicKey.id,
      published!.id,
    )
    await bothWays(folder, key)
  })
}

/** Signs here and verifies with OpenSSL, and the other way round; `clear.pem` and `pub.pem` lie there. */
async function bothWays(folder: string, key: Key): Promise<void> {
  const { family, hash, signatureBytes } = key.publicKey.algorithm
  const pss = key.publicKey.algorithm.name === 'PS256'
    ? ' -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32'
    : ''
  const digest = hash === undefined ? '' : `dgst -${hash.replace('-', '').toLowerCase()}${pss}`
  const isEcdsa = family === 'ecdsa'

  const ours = await key.sign({ mode: 'message', bytes: MESSAGE })
  writeFileSync(join(folder, 'ours.sig'), isEcdsa ? ecdsaToDer(ours) : ours)
  openssl(
    folder,
    digest
      ? `${digest} -verify pub.pem -signature ours.sig msg`
      : 'pkeyutl -verify -rawin -pubin -inkey pub.pem -sigfile ours.sig -in msg',
  )
  openssl(
    folder,
    digest
      ? `${digest} -sign clear.pem -out theirs.sig msg`
      : 'pkeyutl -sign -rawin -inkey clear.pem -in msg -out theirs.sig',
  )
  const sig = new Uint8Array(readFileSync(join(folder, 'theirs.sig')))
  const theirs = isEcdsa ? ecdsaFromDer(sig, signatureBytes!) : sig
  assert.ok(await key.publicKey.verify(MESSAGE, theirs))
  assert.equal(await key.publicKey.verify(utf8('another message'), theirs), false)
}

withOpenssl('PS256 signatures go both ways, and only with a salt of 32 bytes', async (folder) => {
  openssl(folder, `${GENERATE.RS256} -out clear.pem`)
  openssl(folder, 'pkey -in clear.pem -pubout -out pub.pem')
  const key = await open(join(folder, 'clear.pem'), { insecureClearKey: true, rsa: 'PS256' })
  await bothWays(folder, key)
  for (const salt of ['0', '20', 'max']) {
    openssl(
      folder,
      'dgst -sha256 -sigopt rsa_padding_mode:pss ' +
        `-sigopt rsa_pss_saltlen:${salt} -sign clear.pem -out salt.sig msg`,
    )
    const signature = new Uint8Array(readFileSync(join(folder, 'salt.sig')))
    assert.equal(await key.publicKey.verify(MESSAGE, signature), false, salt)
  }
})

for (
  const how of [
    '-v2 aes-128-cbc',
    '-v2 aes-192-cbc',
    '-v2 aes-256-cbc -v2prf hmacWithSHA1 -iter 1000',
    '-v2 aes-256-cbc -v2prf hmacWithSHA384 -iter 1000',
    '-v2 aes-256-cbc -v2prf hmacWithSHA512 -iter 20000',
    '-scrypt',
    '-scrypt -scrypt_N 1024 -scrypt_r 1 -scrypt_p 16',
    '-v2 aes-128-cbc -scrypt -scrypt_N 1024',
  ]
) {
  withOpenssl(`a key file encrypted by it with ${how} opens here`, async (folder) => {
    openssl(folder, `${GENERATE.Ed25519} -out clear.pem`)
    openssl(folder, `pkcs8 -topk8 -in clear.pem -out key.pem ${how} -passout file:pass`)
    const key = await open(join(folder, 'key.pem'))
    assert.equal(toPublicPem(key.publicKey), openssl(folder, 'pkey -in clear.pem -pubout'))
    const wrong = open(join(folder, 'key.pem'), { passphrase: () => 'wrong' })
    await assert.rejects(wrong, { code: 'passphrase_wrong' })
  })
}

for (
  const line of [
    'ecparam -genkey -name prime256v1 -out key.pem',
    'ecparam -genkey -name secp521r1 -noout -out key.pem',
    'genrsa -traditional -out key.pem 2048',
  ]
) {
  withOpenssl(`a clear key in the old form, from ${line}, opens here`, async (folder) => {
    openssl(folder, line)
    const key = await open(join(folder, 'key.pem'), { insecureClearKey: true })
    assert.equal(toPublicPem(key.publicKey), openssl(folder, 'pkey -in key.pem -pubout'))
  })
}

const EC = 'genpkey -out key.pem -algorithm EC -pkeyopt ec_paramgen_curve:'
const RSA = 'genpkey -out key.pem -algorithm RSA -pkeyopt rsa_keygen_bits:'

/** Files that we do not take: what they are, how they are made, and the code. */
const REFUSED: readonly (readonly [string, string, ErrorCode])[] = [
  [
    'Triple DES',
    'genpkey -algorithm ED25519 -des3 -pass file:pass -out key.pem',
    'algorithm_unsupported',
  ],
  ['Ed448', 'genpkey -algorithm ED448 -out key.pem', 'algorithm_unsupported'],
  ['A key for key agreement', 'genpkey -algorithm X25519 -out key.pem', 'algorithm_unsupported'],
  ['An unknown curve', `${EC}secp256k1`, 'algorithm_unsupported'],
  [
    'An unknown curve in the old form',
    'ecparam -genkey -name secp256k1 -out key.pem',
    'algorithm_unsupported',
  ],
  ['A curve spelt out', `${EC}P-256 -pkeyopt ec_param_enc:explicit`, 'algorithm_unsupported'],
  ['An RSA key of 1024 bits', `${RSA}1024`, 'key_malformed'],
  ['An RSA key with exponent 3', `${RSA}2048 -pkeyopt rsa_keygen_pubexp:3`, 'key_malformed'],
  ['An RSA key of three primes', `${RSA}2048 -pkeyopt rsa_keygen_primes:3`, 'der_malformed'],
  ['An RSA key bound to PSS', `${RSA.replace('RSA', 'RSA-PSS')}2048`, 'algorithm_unsupported'],
  [
    'A key encrypted in the old form',
    'genrsa -traditional -aes128 -passout file:pass -out key.pem 2048',
    'pem_malformed',
  ],
  ['A key with parameters alone', 'ecparam -name prime256v1 -out key.pem', 'key_malformed'],
]

for (const [what, line, code] of REFUSED) {
  withOpenssl(`${what} is refused`, async (folder) => {
    openssl(folder, line)
    await assert.rejects(open(join(folder, 'key.pem'), { insecureClearKey: true }), { code })
  })
}

// Python reads what OpenSSL 3.0 does not: ML-DSA.
const modelSigning = process.env.SIGNET_MODEL_SIGNING
const python = modelSigning === undefined ? undefined : join(dirname(modelSigning), 'python')
const noPython = (python === undefined || !existsSync(python)) && process.env.CI !== 'true' &&
  'SIGNET_MODEL_SIGNING names no environment with cryptography'

for (const name of [...CLASSICAL, 'ML-DSA-65'] as const) {
  test(
    `Python's cryptography opens our ${name} key file`,
    { skip: noPython },
    () =>
      inFolder(async (folder) => {
        const key = await make(join(folder, 'key.pem'), name, { cost })
        const script = `
from cryptography.hazmat.primitives.serialization import *
key = load_pem_private_key(open('key.pem', 'rb').read(), open('pass', 'rb').read())
print(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), end='')
`
        assert.equal(run(folder, python!, '-c', script), toPublicPem(key.publicKey))
      }),
  )
}

test(
  "a key file with Python's cryptography, ML-DSA-65 included, opens here",
  { skip: noPython },
  () =>
    inFolder(async (folder) => {
      const script = `
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from cryptography.hazmat.primitives.serialization import *
secret = BestAvailableEncryption(open('pass', 'rb').read())
for name, key in {'ed': ed25519.Ed25519PrivateKey.generate(), 'ml': mldsa.MLDSA65PrivateKey.generate()}.items():
  open(name + '.pem', 'wb').write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
  open(name + '.pub', 'wb').write(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
  open(name + '.sig', 'wb').write(key.sign(open('msg', 'rb').read()))
`
      run(folder, python!, '-c', script)
      for (const name of ['ed', 'ml']) {
        const key = await open(join(folder, `${name}.pem`))
        assert.equal(readFileSync(join(folder, `${name}.pub`), 'utf8'), toPublicPem(key.publicKey))
        const signature = new Uint8Array(readFileSync(join(folder, `${name}.sig`)))
        assert.ok(await key.publicKey.verify(MESSAGE, signature))
      }
    }),
)
