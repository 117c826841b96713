import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ALGORITHMS,
  certificateChainFor,
  certificateLabel,
  type CertificateOptions,
  formatBundle,
  generateKey,
  importKey,
  parseBundle,
  parseCertificate,
  type PublicKey,
  readCertificates,
  sealModel,
  streamTree,
  toPem,
  type Trust,
  verifyCertificateChain,
  verifySeal,
} from '../../mod.ts'
import { type Bytes, concat, fromBase64, toHex, utf8 } from '../../src/bytes.ts'
import {
  der,
  derInteger,
  derOid,
  DerReader,
  fromPkcs8,
  fromSpki,
  TAG,
} from '../../src/crypto/mod.ts'
import { isSignetError, SignetError } from '../../src/errors.ts'
import { nameText } from '../../src/certificates/mod.ts'
import vectors from '../vectors/certificates.json' with { type: 'json' }

type Name = keyof typeof vectors
const bytes = (name: Name) => fromBase64(vectors[name])
const chainOf = (...names: readonly Name[]) => names.map(bytes)
const seconds = (date: string) => Date.parse(date) / 1000
const at = seconds('2030-01-01T00:00:00Z')

/** Verifies a chain by the names of its certificates under the root of the same name, or under others. */
async function verify(
  chain: readonly Name[],
  roots: readonly Name[] = ['root'],
  options: Partial<CertificateOptions> = {},
) {
  return await verifyCertificateChain(chainOf(...chain), chainOf(...roots), { at, ...options })
}

/** Chains that must fail: why, their names, code, what the message says, and roots if not `root`. */
const REFUSED: readonly (readonly [
  why: string,
  chain: readonly Name[],
  code: SignetError['code'],
  message: RegExp,
  roots?: readonly Name[],
  options?: Partial<CertificateOptions>,
])[] = [
  // Trust comes from the roots alone.
  [
    'nothing is trusted',
    ['leaf', 'intermediate', 'root'],
    'certificate_untrusted',
    /"CN=root,O=Good": the chain ends here, in a root that is not among the trusted/,
    [],
  ],
  [
    'the root is another',
    ['leaf', 'intermediate'],
    'certificate_untrusted',
    /"CN=intermediate,O=Good": its issuer is neither in the chain nor among/,
    ['rootRsa'],
  ],
  [
    'the root has only the right name',
    ['leaf', 'intermediate'],
    'certificate_untrusted',
    /"CN=intermediate,O=Good": its signature does not verify/,
    ['impostor'],
  ],
  [
    'an intermediate is missing',
    ['leaf', 'root'],
    'certificate_untrusted',
    /"CN=leaf,O=Good": its issuer is neither/,
  ],
  [
    'a self-signed leaf is trusted by nobody',
    ['selfSigned', 'root'],
    'certificate_untrusted',
    /the chain ends here/,
  ],
  [
    'certificates vouch for each other in a circle',
    ['circle', 'circleB', 'circleAByB', 'circleA'],
    'certificate_untrusted',
    /neither in the chain|the chain ends here/,
  ],

  // Signatures.
  [
    'a link is signed with SHA-1',
    ['sha1', 'rsaCa'],
    'certificate_untrusted',
    /"CN=sha1,O=Good": its signature uses SHA-1, which is refused/,
    ['rootRsa'],
  ],
  [
    'a root has an RSA key of 1024 bits',
    ['weak'],
    'certificate_untrusted',
    /RSA modulus has 1024 bits/,
    ['rootWeak'],
  ],

  [
    "a link is signed with RSA by an issuer's key that is not",
    ['rsa384', 'rsaCa'],
    'certificate_untrusted',
    /"CN=rsaCa,O=Good": it is signed with RSASSA-PKCS1-v1_5 with SHA-512, which is not for/,
    ['impostorRsa'],
  ],

  // Issuers.
  [
    'an issuer has no basic constraints',
    ['noBasicConstraints', 'noBasicConstraintsCa'],
    'certificate_untrusted',
    /"CN=noBasicConstraintsCa,O=Good": it is not a CA/,
  ],
  [
    'an issuer is no CA',
    ['notCa', 'notCaCa'],
    'certificate_untrusted',
    /"CN=notCaCa,O=Good": it is not a CA/,
  ],
  ['a leaf issued it', ['leaf', 'leaf'], 'certificate_untrusted', /neither in the chain/],
  [
    'an issuer may not sign certificates',
    ['noCertSign', 'noCertSignCa'],
    'certificate_untrusted',
    /its key usage does not allow it to sign certificates/,
  ],
  [
    'an issuer is for servers only',
    ['caForServers', 'caForServersCa'],
    'certificate_untrusted',
    /"CN=caForServersCa,O=Good": its extended key usage/,
  ],
  [
    'the path is longer than its constraint',
    ['deep', 'deepCa', 'intermediate'],
    'certificate_untrusted',
    /"CN=intermediate,O=Good": its path length constraint allows 0 CAs below it, not 1/,
  ],
  [
    'an issuer has a critical extension that nobody knows',
    ['criticalCa', 'criticalCaCa'],
    'certificate_untrusted',
    /"CN=criticalCaCa,O=Good": critical extension 1\.2\.3\.4 is not known/,
  ],
  [
    'a certificate may sign others and is no CA',
    ['certSignWithoutCa', 'intermediate'],
    'certificate_untrusted',
    /it may sign certificates, and is not a CA/,
  ],
  [
    'it names another key of its issuer',
    ['otherIssuer', 'intermediate'],
    'certificate_untrusted',
    /is not the authority key identifier/,
  ],
  [
    'it names another certificate of its issuer',
    ['otherSerial', 'intermediate'],
    'certificate_untrusted',
    /is not the certificate that the authority key identifier/,
  ],

  [
    'an issuer has no name',
    ['ofNamelessCa', 'namelessCa'],
    'certificate_untrusted',
    /"CN=ofNamelessCa,O=Good": it names no issuer/,
  ],
  [
    'the path has nine certificates',
    ['long', 'long1', 'long2', 'long3', 'long4', 'long5', 'long6', 'long7'],
    'certificate_untrusted',
    /"CN=root,O=Good": a path of more than 8 certificates/,
  ],

  [
    'it names another issuer of its issuer',
    ['otherMaker', 'intermediate'],
    'certificate_untrusted',
    /is not the certificate that the authority key identifier/,
  ],

  // Time.
  [
    'the leaf has expired',
    ['expired', 'intermediate'],
    'key_expired',
    /"CN=expired,O=Good": it expired on 2025-02-01T00:00:00Z/,
  ],
  [
    'an issuer has expired',
    ['expiredCa', 'expiredCaCa'],
    'key_expired',
    /"CN=expiredCaCa,O=Good": it expired on 2026-01-01T00:00:00Z/,
  ],
  [
    'the root has expired',
    ['leaf', 'intermediate'],
    'key_expired',
    /it expired on 2125/,
    ['root'],
    { at: seconds('2125-01-01T00:00:01Z') },
  ],
  [
    'nothing is valid yet',
    ['leaf', 'intermediate'],
    'key_not_yet_valid',
    /it is not valid before 2025-01-01T00:00:00Z/,
    ['root'],
    { at: seconds('2024-12-31T23:59:59Z') },
  ],
  [
    'nothing is valid yet, and expiry does not matter',
    ['leaf', 'intermediate'],
    'key_not_yet_valid',
    /not valid before/,
    ['root'],
    { at: 0, skipCertificateExpiry: true },
  ],
  ['there is no time', ['leaf', 'intermediate'], 'usage_invalid', /the time/, ['root'], {
    at: NaN,
  }],
  [
    'there is no time, and expiry does not matter',
    ['leaf', 'intermediate'],
    'usage_invalid',
    /the time/,
    ['root'],
    { at: NaN, skipCertificateExpiry: true },
  ],

  // What the leaf is for.
  [
    'the leaf says nothing of its use',
    ['noUsage', 'intermediate'],
    'certificate_untrusted',
    /neither its key usage nor its extended/,
  ],
  [
    'the leaf is of a server',
    ['server', 'intermediate'],
    'certificate_untrusted',
    /does not allow code signing/,
  ],
  [
    'the leaf is for anything, and so not for this',
    ['anyUsage', 'intermediate'],
    'certificate_untrusted',
    /does not allow code signing/,
  ],
  [
    'the leaf is for key agreement',
    ['agreement', 'intermediate'],
    'certificate_untrusted',
    /does not allow digital signatures/,
  ],
  [
    'the leaf is a CA',
    ['caLeaf', 'intermediate'],
    'certificate_untrusted',
    /it is a CA, and signs models itself/,
  ],
  [
    'an intermediate signs itself',
    ['intermediate'],
    'certificate_untrusted',
    /it is a CA, and signs models itself/,
  ],
  [
    'the leaf has a critical extension that nobody knows',
    ['critical', 'intermediate'],
    'certificate_untrusted',
    /critical extension 1\.2\.3\.4 is not known/,
  ],
  [
    'the leaf has an RSA key',
    ['rsaLeaf', 'intermediate'],
    'certificate_untrusted',
    /its key is of no kind that signs models/,
  ],
  [
    'the leaf has an Ed25519 key',
    ['edLeaf', 'intermediate'],
    'certificate_untrusted',
    /its key is of no kind that signs models/,
  ],

  // Name constraints.
  [
    'a mailbox differs in case from the one that is permitted',
    ['ncBoxCase', 'ncBoxCa'],
    'certificate_untrusted',
    /its email name is outside/,
  ],
  [
    'a mailbox is on another host than the one that is permitted',
    ['ncBoxHost', 'ncBoxCa'],
    'certificate_untrusted',
    /its email name is outside/,
  ],
  [
    'a leaf constrains names',
    ['ncOfLeaf', 'intermediate'],
    'certificate_untrusted',
    /it constrains names, and is not a CA/,
  ],
  [
    'a CA is named against the constraints',
    ['ncBelowBad', 'ncBadCa', 'constrainedCa'],
    'certificate_untrusted',
    /"CN=ncBadCa,O=Bad": its directory name/,
  ],
  [
    'a leaf is named like its CA, against its constraints',
    ['ncOtherSelf', 'ncOtherCa'],
    'certificate_untrusted',
    /its directory name is outside/,
  ],
  [
    'an address stands for a host',
    ['ncDnsAddress', 'ncWildcardCa'],
    'certificate_untrusted',
    /its dns name can.t be judged/,
  ],
  [
    'a wildcard may be what is excluded',
    ['ncWildcard', 'ncWildcardCa'],
    'certificate_untrusted',
    /its dns name can.t be judged/,
  ],
  [
    'a kind of name is constrained that nobody can compare',
    ['ncOtherName', 'ncOtherNameCa'],
    'certificate_untrusted',
    /its other name can.t be judged/,
  ],
  [
    'there are too many names and constraints',
    ['ncMany', 'ncManyCa'],
    'certificate_untrusted',
    /too many names and name constraints/,
  ],
  ...([
    ['ncSubject', 'directory'],
    ['ncExcluded', 'directory'],
    ['ncMailbox', 'email'],
    ['ncMulti', 'directory'],
    ['ncBoxLess', 'email'],
    ['ncBoxQuoted', 'email'],
    ['ncDns', 'dns'],
    ['ncDnsExcluded', 'dns'],
    ['ncDnsWildcard', 'dns'],
    ['ncUri', 'uri'],
    ['ncUriUser', 'uri'],
    ['ncUriOpaque', 'uri'],
    ['ncEmail', 'email'],
    ['ncIp', 'ip'],
    ['ncIp6', 'ip'],
  ] as const).map(([name, kind]) =>
    [
      `a ${kind} name is outside of the constraints (${name})`,
      [name, 'constrainedCa'],
      'certificate_untrusted',
      new RegExp(`its ${kind} name .* the name constraints of its issuer`),
    ] as const
  ),
]

for (const [why, chain, code, message, roots, options] of REFUSED) {
  test(`verifyCertificateChain() refuses: ${why}`, async () => {
    await assert.rejects(verify(chain, roots, options), (error) => {
      assert.ok(isSignetError(error), String(error))
      assert.equal(error.code, code, error.message)
      assert.match(error.message, message)
      return true
    })
  })
}

/** Chains that must hold: what is special, and their names, the leaf first and the root last. */
const TAKEN: readonly [what: string, ...names: readonly Name[]][] = [
  ['root, intermediate, leaf', 'leaf', 'intermediate', 'root'],
  ['hashes that are not those of the curves', 'mixed', 'mixedCa', 'root'],
  ['P-521', 'p521', 'p521Ca', 'root'],
  ['P-521 with SHA-256', 'p521Short', 'p521Ca', 'root'],
  ['P-256 with SHA-384', 'p256Long', 'intermediate', 'root'],
  ['RSA with SHA-256 over a P-384 leaf', 'rsa256', 'rsaCa', 'rootRsa'],
  ['RSA with SHA-384', 'rsa384', 'rsaCa', 'rootRsa'],
  ['RSASSA-PSS with SHA-256', 'pss256', 'rsaCa', 'rootRsa'],
  ['RSASSA-PSS with SHA-512', 'pss512', 'rsaCa', 'rootRsa'],
  ['Ed25519', 'ed25519', 'rootEd25519'],
  ['a CA for code signing', 'caForCode', 'caForCodeCa', 'root'],
  ['a self-issued CA under a path length of 0', 'renewed', 'renewedCa', 'intermediate', 'root'],
  ['a leaf with key usage alone', 'onlyKeyUsage', 'intermediate', 'root'],
  ['a leaf with code signing alone', 'onlyCodeSigning', 'intermediate', 'root'],
  ['an unknown extension that is not critical', 'uncritical', 'intermediate', 'root'],
  [
    "a leaf named like its issuer and marked CA, as the reference's are",
    'oddLeaf',
    'intermediate',
    'root',
  ],
  ['eight certificates', 'long', ...[7, 6, 5, 4, 3, 2, 1].map((i) => `long${i}` as Name)],
  ['a leaf without a subject', 'nameless', 'intermediate', 'root'],
  ['a leaf named by less than is excluded', 'ncShort', 'constrainedCa', 'root'],
  ['the one mailbox that is permitted', 'ncBox', 'ncBoxCa', 'root'],
  ['many names under many constraints', 'ncFew', 'ncManyCa', 'root'],
  [
    'the renewal of a CA that must not have its own name',
    'ncOther',
    'ncOtherRenewedCa',
    'ncOtherCa',
    'root',
  ],
  ['names inside of the constraints', 'ncInside', 'constrainedCa', 'root'],
]

for (const [what, ...names] of TAKEN) {
  test(`verifyCertificateChain() takes ${what}`, async () => {
    const [leaf, root] = [names[0]!, names.at(-1)!]
    const others = names.slice(1, -1)
    const signer = await verify([leaf, ...others], [root])
    assert.equal(signer.root.subject, nameText(parseCertificate(bytes(root)).subject))
    // The root may stand in the chain, and the others in any order, twice, and with what is useless.
    await verify([leaf, ...others, root], [root])
    await verify([leaf, 'circleA', root, ...others.toReversed(), ...others, leaf], [
      'impostor',
      root,
    ])
  })
}

test('verifyCertificateChain() says who signed', async () => {
  const signer = await verify(['leaf', 'intermediate'], ['rootRsa', 'root'])
  const leaf = bytes('leaf')
  const digest = async (one: Bytes) =>
    toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', one)))
  assert.equal(signer.subject, 'CN=leaf,O=Good')
  assert.equal(signer.issuer, 'CN=intermediate,O=Good')
  assert.deepEqual(signer.names, [
    { kind: 'uri', value: 'spiffe://good.example/ci' },
    { kind: 'email', value: 'ci@good.example' },
    { kind: 'dns', value: 'good.example' },
    { kind: 'ip', value: '192.0.2.7' },
  ])
  assert.equal(signer.notBefore, seconds('2025-01-01T00:00:00Z'))
  assert.equal(signer.notAfter, seconds('2125-01-01T00:00:00Z'))
  assert.equal(signer.fingerprint, await digest(leaf))
  assert.deepEqual(signer.root, {
    subject: 'CN=root,O=Good',
    fingerprint: await digest(bytes('root')),
    certificate: bytes('root'),
  })
  assert.equal(signer.key.algorithm, ALGORITHMS['ES256'])
  assert.deepEqual(signer.key.raw, fromSpki(parseCertificate(leaf).spki).publicKey)
})

test('validity holds from its first to its last second', async () => {
  for (const date of ['2025-01-01T00:00:00Z', '2125-01-01T00:00:00Z', '2125-01-01T00:00:00.9Z']) {
    await verify(['leaf', 'intermediate'], ['root'], { at: seconds(date) })
  }
})

test('an expired leaf passes only where expiry is skipped, and never an issuer that was not valid', async () => {
  const skip = { skipCertificateExpiry: true }
  assert.equal(
    (await verify(['expired', 'intermediate'], ['root'], skip)).subject,
    'CN=expired,O=Good',
  )
  await assert.rejects(verify(['leaf', 'intermediate'], ['impostor'], skip), {
    code: 'certificate_untrusted',
  })
})

test('what the caller trusts may be the leaf, or an intermediate', async () => {
  assert.equal((await verify(['selfSigned'], ['selfSigned'])).root.subject, 'CN=selfSigned,O=Good')
  assert.equal((await verify(['leaf'], ['leaf'])).subject, 'CN=leaf,O=Good')
  assert.equal((await verify(['leaf'], ['intermediate'])).root.subject, 'CN=intermediate,O=Good')
  assert.equal((await verify(['caLeaf'], ['caLeaf'])).root.subject, 'CN=caLeaf,O=Good')
  // Being trusted does not make it fit, or valid.
  await assert.rejects(verify(['server'], ['server']), { code: 'certificate_untrusted' })
  await assert.rejects(verify(['expired'], ['expired']), { code: 'key_expired' })
})

test('names cannot write into a message what they are not', async () => {
  const { subject } = await verify(['hostile', 'intermediate'])
  assert.match(subject, /^CN=say \\"yes\\"\\, O=Evil \\e2\\80\\aeevil\\07,O=Good$/)
  await assert.rejects(verify(['hostile']), (error) => {
    assert.doesNotMatch((error as Error).message, /\p{C}/u)
    return isSignetError(error, 'certificate_untrusted')
  })
})

test('the chain is bounded in number and in size', async () => {
  const many = Array<Name>(16).fill('circleA')
  await assert.rejects(verify(['leaf', 'intermediate', ...many]), { code: 'certificate_malformed' })
  await assert.rejects(verify([]), { code: 'certificate_malformed' })
  assert.ok(await verify(['leaf', 'intermediate', ...many.slice(2)]))
  const large = new Uint8Array(70_000)
  await assert.rejects(
    verifyCertificateChain([large], chainOf('root'), { at }),
    { code: 'certificate_malformed', message: /65536/ },
  )
})

/** A TLV of a certificate with something done to it. */
const MALFORMED: readonly [what: string, change: (der: Bytes) => Uint8Array, message: RegExp][] = [
  ['bytes after it', (one) => concat(one, Uint8Array.of(0)), /bytes follow/],
  ['a cut end', (one) => one.subarray(0, -1), /cut off/],
  [
    'a length of indefinite form',
    (one) => concat(Uint8Array.of(0x30, 0x80), one.subarray(4), Uint8Array.of(0, 0)),
    /not DER/,
  ],
  [
    'a length that is not minimal',
    (one) => concat(Uint8Array.of(0x30, 0x83, 0), one.subarray(2)),
    /not minimal/,
  ],
  ['month 13', (one) => replaced(one, '250101000000Z', '251301000000Z'), /time does not exist/],
  ['30 February', (one) => replaced(one, '250101000000Z', '250230000000Z'), /time does not exist/],
  ['hour 24', (one) => replaced(one, '250101000000Z', '250101240000Z'), /time does not exist/],
  ['second 60', (one) => replaced(one, '250101000000Z', '250101000060Z'), /time does not exist/],
  ['a local time', (one) => replaced(one, '250101000000Z', '2501010000+01'), /not of the form/],
  [
    'a boolean that is 1',
    (one) => replaced(one, '\x55\x1d\x13\x01\x01\xff', '\x55\x1d\x13\x01\x01\x01'),
    /boolean is not DER/,
  ],
  [
    'a default value written out',
    (one) => replaced(one, '\x55\x1d\x13\x01\x01\xff', '\x55\x1d\x13\x01\x01\x00'),
    /default value/,
  ],
  ['two signature algorithms', (one) => {
    const oid = '\x2a\x86\x48\xce\x3d\x04\x03'
    return replaced(one, `${oid}\x02`, `${oid}\x03`)
  }, /two signature algorithms/],
  [
    'a key usage of no DER',
    (one) => replaced(one, '\x03\x02\x07\x80', '\x03\x02\x07\x81'),
    /bit string is not DER/,
  ],
  [
    'another version',
    (one) => replaced(one, '\xa0\x03\x02\x01\x02', '\xa0\x03\x02\x01\x03'),
    /version/,
  ],
  ['no certificate at all', () => der(TAG.sequence, utf8('')), /expected at byte 0/],
]

function replaced(der: Bytes, from: string, to: string): Bytes {
  const text = String.fromCharCode(...der)
  assert.ok(text.includes(from) && from.length === to.length)
  return Uint8Array.from(text.replace(from, to), (character) => character.charCodeAt(0))
}

for (const [what, change, message] of MALFORMED) {
  test(`parseCertificate() refuses ${what}`, async () => {
    const wrong = change(bytes('leaf'))
    const expected = { code: 'certificate_malformed', message }
    assert.throws(() => parseCertificate(wrong), expected)
    await assert.rejects(
      verifyCertificateChain([wrong, bytes('intermediate')], chainOf('root'), { at }),
      { ...expected, where: 'certificate 1' },
    )
    await assert.rejects(
      verifyCertificateChain(chainOf('leaf', 'intermediate'), [bytes('root'), wrong], { at }),
      { ...expected, where: 'trusted root 2' },
    )
  })
}

const seq = (...content: Uint8Array[]) => der(TAG.sequence, ...content)
const octets = (content: Uint8Array) => der(TAG.octetString, content)
const attribute = (text: string) =>
  der(TAG.set, seq(derOid('2.5.4.3'), der(TAG.utf8String, utf8(text))))

/** A certificate that nobody signed, to be parsed: with this serial, subject and these extensions. */
function made({
  serial = Uint8Array.of(1),
  subject = seq(attribute('made')),
  extensions = [],
}: {
  readonly serial?: Uint8Array
  readonly subject?: Uint8Array
  readonly extensions?: readonly Uint8Array[]
}): Bytes {
  const algorithm = seq(derOid('1.3.101.112'))
  const time = der(TAG.utcTime, utf8('250101000000Z'))
  const version = der(0xa0, derInteger(Uint8Array.of(2)))
  const name = seq(attribute('maker'))
  const { spki } = parseCertificate(bytes('leaf'))
  const tail = extensions.length === 0 ? [] : [der(0xa3, seq(...extensions))]
  return seq(
    seq(
      version,
      der(TAG.integer, serial),
      algorithm,
      name,
      seq(time, time),
      subject,
      spki,
      ...tail,
    ),
    algorithm,
    der(TAG.bitString, new Uint8Array(65)),
  )
}

const extension = (id: string, value: Uint8Array) => seq(derOid(`2.5.29.${id}`), octets(value))
const dns = (count: number) => Array.from({ length: count }, () => der(0x82, utf8('a')))
const ip = (...octets: number[]) => der(0x87, Uint8Array.from(octets))
const subtrees = (...bases: Uint8Array[]) => der(0xa0, ...bases.map((base) => seq(base)))

/** What is wrong with it, and what is just right. */
const UNMADE: readonly (readonly [
  what: string,
  message: RegExp,
  wrong: Parameters<typeof made>[0],
  right: Parameters<typeof made>[0],
])[] = [
  ['a serial number of 22 bytes', /serial number is too long/, {
    serial: new Uint8Array(22).fill(1),
  }, { serial: new Uint8Array(21).fill(1) }],
  [
    'an empty relative name',
    /relative distinguished name is empty/,
    { subject: seq(der(TAG.set)) },
    { subject: seq() },
  ],
  ['a name of 65 attributes', /more than 64 attributes/, {
    subject: seq(...Array(65).fill(attribute('x'))),
  }, { subject: seq(...Array(64).fill(attribute('x'))) }],
  ['a value with a tag of two bytes', /more than one octet/, {
    subject: seq(der(TAG.set, seq(derOid('2.5.4.3'), der(0x1f, utf8('x'))))),
  }, { subject: seq(der(TAG.set, seq(derOid('2.5.4.3'), der(0x1e, utf8('xy'))))) }],
  ['an extension twice', /2\.5\.29\.14 is there twice/, {
    extensions: [extension('14', octets(utf8('a'))), extension('14', octets(utf8('a')))],
  }, { extensions: [extension('14', octets(utf8('a')))] }],
  ['bytes after the value of an extension', /bytes follow/, {
    extensions: [extension('14', concat(octets(utf8('a')), utf8('a')))],
  }, { extensions: [extension('99', utf8('anything'))] }],
  ['an empty list of names', /list of names is empty/, { extensions: [extension('17', seq())] }, {
    extensions: [extension('17', seq(...dns(1)))],
  }],
  ['1025 names', /more than 1024/, { extensions: [extension('17', seq(...dns(1025)))] }, {
    extensions: [extension('17', seq(...dns(1024)))],
  }],
  ['an address of 5 bytes', /neither 4 nor 16/, {
    extensions: [extension('17', seq(ip(1, 2, 3, 4, 5)))],
  }, { extensions: [extension('17', seq(ip(...new Array(16).fill(1))))] }],
  ['a host name with a space', /characters that it must not have/, {
    extensions: [extension('17', seq(der(0x82, utf8('a b'))))],
  }, { extensions: [extension('17', seq(der(0x82, utf8('a.b'))))] }],
  ['a host name that is not ASCII', /characters that it must not have/, {
    extensions: [extension('17', seq(der(0x82, utf8('\u00e9'))))],
  }, { extensions: [extension('17', seq(der(0x86, utf8('urn:x'))))] }],
  ['a general name of no kind', /no known kind/, {
    extensions: [extension('17', seq(der(0x89, utf8('a'))))],
  }, { extensions: [extension('17', seq(der(0x88, utf8('a'))))] }],
  [
    'empty name constraints',
    /name constraints are empty/,
    { extensions: [extension('30', seq())] },
    { extensions: [extension('30', seq(subtrees(...dns(1))))] },
  ],
  ['a mask with holes', /holes/, {
    extensions: [extension('30', seq(subtrees(ip(1, 2, 3, 4, 255, 0, 255, 0))))],
  }, { extensions: [extension('30', seq(subtrees(ip(1, 2, 3, 4, 255, 254, 0, 0))))] }],
  ['a range of 4 bytes', /wrong length/, {
    extensions: [extension('30', seq(subtrees(ip(1, 2, 3, 4))))],
  }, { extensions: [extension('30', seq(subtrees(ip(...new Array(32).fill(0)))))] }],
  ['a minimum of 1', /bytes follow/, {
    extensions: [extension('30', seq(der(0xa0, seq(dns(1)[0]!, der(0x80, Uint8Array.of(1))))))],
  }, { extensions: [extension('30', seq(der(0xa1, seq(dns(1)[0]!))))] }],
]

for (const [what, message, wrong, right] of UNMADE) {
  test(`parseCertificate() refuses ${what}`, () => {
    assert.throws(() => parseCertificate(made(wrong)), { code: 'certificate_malformed', message })
    assert.ok(parseCertificate(made(right)))
  })
}

test('a name is shown as RFC 4514 has it, and as hexadecimal where it is no text', () => {
  const shown = (...rdns: Uint8Array[]) =>
    nameText(parseCertificate(made({ subject: seq(...rdns) })).subject)
  const value = (id: string, tag: number, content: Uint8Array) => seq(derOid(id), der(tag, content))
  assert.equal(shown(attribute('a'), attribute('b')), 'CN=b,CN=a')
  assert.equal(shown(attribute(' #,+"\\<>; ')), 'CN=\\ #\\,\\+\\"\\\\\\<\\>\\;\\ ')
  assert.equal(
    shown(attribute('#\0\u200b\u2028\u{e0041}')),
    'CN=\\#\\00\\e2\\80\\8b\\e2\\80\\a8\\f3\\a0\\81\\81',
  )
  const two = [value('2.5.4.10', 0x13, utf8('o')), value('2.5.4.6', 0x13, utf8('DE'))]
  assert.equal(shown(der(TAG.set, ...two)), 'O=o+C=DE')
  assert.equal(shown(der(TAG.set, value('2.5.4.3', 0x1e, Uint8Array.of(1, 0x53)))), 'CN=\u0153')
  for (
    const [id, tag, content, text] of [
      ['2.5.4.3', TAG.utf8String, Uint8Array.of(0xff), 'CN=#0c01ff'],
      ['2.5.4.3', 0x13, Uint8Array.of(0xe9), 'CN=#1301e9'],
      ['2.5.4.3', 0x1e, Uint8Array.of(0xd8, 0), 'CN=#1e02d800'],
      ['2.5.4.3', TAG.integer, Uint8Array.of(7), 'CN=#020107'],
      ['2.999.3', TAG.utf8String, utf8('x'), '2.999.3=#0c0178'],
      ['2.25.1', TAG.utf8String, utf8('x'), '2.25.1=#0c0178'],
    ] as const
  ) {
    assert.equal(shown(der(TAG.set, value(id, tag, content))), text)
  }
  const long = parseCertificate(made({ subject: seq(attribute('x'.repeat(5000))) }))
  assert.ok(certificateLabel(long).length < 130)
  assert.match(nameText(long.subject), /^CN=#0c82138878/)
})

test('object identifiers have one encoding', () => {
  const read = (...octets: number[]) =>
    new DerReader(der(TAG.oid, Uint8Array.from(octets)), 'test').readOid()
  assert.throws(() => read(), { code: 'der_malformed' })
  assert.throws(() => read(0x2a, 0x80, 0x01), { code: 'der_malformed', message: /padded/ })
  assert.throws(() => read(0x2a, 0x81), { code: 'der_malformed', message: /cut off/ })
  assert.throws(() => read(...new Array(65).fill(1)), { code: 'der_malformed', message: /long/ })
  assert.equal(read(...new Array(64).fill(1)).length, 3 + 63 * 2)
  // X.690 §8.19.5 has the first; the second is a UUID's.
  assert.equal(read(0x88, 0x37, 0x03), '2.999.3')
  assert.equal(
    read(0x69, ...new Array(18).fill(0xff), 0x7f),
    `2.25.${(1n << 133n) - 1n}`,
  )
})

test('no flipped bit and no garbled byte in a chain ever verifies, or throws anything but a SignetError', async () => {
  // The RSA chain in whole, for it verifies fast; of the other every third byte.
  for (
    const [names, root, step] of [
      [['rsa256', 'rsaCa'], 'rootRsa', 1],
      [['leaf', 'intermediate'], 'root', 3],
    ] as const
  ) {
    const chain = chainOf(...names)
    const roots = chainOf(root)
    assert.ok(await verifyCertificateChain(chain, roots, { at }))
    for (const [which, whole] of chain.entries()) {
      for (let i = 0; i < whole.length; i += step) {
        const wrong = whole.slice()
        wrong[i]! ^= 1 << (i % 8)
        const altered = chain.with(which, wrong)
        const error = await failure(verifyCertificateChain(altered, roots, { at }))
        assert.ok(error instanceof SignetError, `${names[which]} byte ${i}: ${error}`)
      }
    }
  }
})

test('garbled roots throw nothing but a SignetError', async () => {
  const root = bytes('constrainedCa')
  let state = 1
  const random = (below: number) => (state = (state * 48271) % 2147483647) % below
  for (let round = 0; round < 2000; round++) {
    const wrong = root.slice()
    for (let n = 1 + random(3); n > 0; n--) wrong[random(wrong.length)] = random(256)
    const error = await failure(verifyCertificateChain(chainOf('ncInside'), [wrong], { at }))
    assert.ok(error === undefined || error instanceof SignetError, `round ${round}: ${error}`)
  }
})

async function failure(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
}

test('a maze of certificates is left after so many signatures', async () => {
  const maze = [1, 2, 3, 4, 5].flatMap((i) => [`maze${i}`, `maze${i}Too`] as Name[])
  await assert.rejects(verify(['maze', ...maze]), {
    code: 'certificate_untrusted',
    message: /more than 32 signatures/,
  })
  assert.ok(await verify(['maze', ...maze.slice(0, 4)], ['maze3']))
})

test('readCertificates() reads PEM with anything around it, and DER', () => {
  const [leaf, root] = chainOf('leaf', 'root') as [Bytes, Bytes]
  const pem = `subject=O = Good\n${toPem('CERTIFICATE', leaf)}# r\u00f6\u00f6t\n` +
    toPem('EC PARAMETERS', Uint8Array.of(6, 0)) + toPem('CERTIFICATE', root)
  assert.deepEqual(readCertificates(pem), [leaf, root])
  // Latin-1 between the blocks.
  assert.deepEqual(readCertificates(Uint8Array.from(pem, (c) => c.charCodeAt(0))), [leaf, root])
  assert.deepEqual(readCertificates(leaf), [leaf])
  assert.throws(() => readCertificates(concat(leaf, root)), { code: 'certificate_malformed' })
  assert.throws(() => readCertificates(''), { code: 'pem_malformed' })
  assert.throws(() => readCertificates(new Uint8Array()), { code: 'pem_malformed' })
  assert.throws(() => readCertificates(toPem('PUBLIC KEY', parseCertificate(leaf).spki)), {
    code: 'pem_malformed',
  })
  assert.throws(
    () => readCertificates(toPem('CERTIFICATE', leaf) + toPem('CERTIFICATE', leaf.subarray(1))),
    { code: 'certificate_malformed', where: 'certificate 2' },
  )
})

const pair = fromPkcs8(bytes('leafKey'))
const leafKey = await importKey(pair.algorithm, {
  privateKey: pair.privateKey,
  publicKey: pair.publicKey!,
})

test('certificateChainFor() refuses a certificate of another key, and one that nobody would take', async () => {
  const other = (await generateKey(ALGORITHMS['ES256'])).publicKey
  const refuse = (key: PublicKey, code: string, ...names: Name[]) =>
    assert.rejects(certificateChainFor(key, chainOf(...names)), { code })
  await refuse(other, 'key_mismatch', 'leaf', 'intermediate')
  await refuse(leafKey.publicKey, 'key_mismatch', 'intermediate', 'leaf')
  await refuse(leafKey.publicKey, 'certificate_untrusted', 'server', 'intermediate')
  await refuse(leafKey.publicKey, 'certificate_untrusted', 'rsaLeaf', 'intermediate')
  await refuse(leafKey.publicKey, 'certificate_malformed')
  assert.deepEqual(
    await certificateChainFor(leafKey.publicKey, chainOf('leaf', 'leaf', 'intermediate')),
    chainOf('leaf', 'intermediate'),
  )
})

const tree = () => streamTree(new Map([['weights.bin', new Uint8Array(1000)]]))
const trust: Trust = {
  signers: [],
  roots: [{ certificate: bytes('rootRsa') }, { certificate: bytes('root'), publisher: 'good' }],
}

async function sealed(...chain: Name[]): Promise<Bytes> {
  const sealer = { key: leafKey, chain: chainOf(...chain) }
  return (await sealModel(tree(), [sealer], { name: 'tiny' })).bundles[0]!
}

test('verifySeal() refuses a certificate seal without trust, with another chain, or with a revoked key', async () => {
  const bundle = await sealed('leaf', 'intermediate')
  const now = at
  await assert.rejects(verifySeal(bundle, { signers: [] }, { now }), { code: 'signer_untrusted' })
  await assert.rejects(
    verifySeal(bundle, { signers: [], roots: trust.roots!.slice(0, 1) }, { now }),
    { code: 'certificate_untrusted' },
  )
  await assert.rejects(verifySeal(bundle, trust, { now: 0 }), { code: 'key_not_yet_valid' })
  const { envelope } = parseBundle(bundle)
  const chain = chainOf('rsa256', 'rsaCa')
  const swapped = formatBundle({ material: { method: 'certificate', chain }, envelope })
  await assert.rejects(verifySeal(swapped, trust, { now }), { code: 'signature_invalid' })
  const revoked = { key: leafKey.publicKey, status: 'revoked', revokedAt: 0 } as const
  await assert.rejects(verifySeal(bundle, { ...trust, signers: [revoked] }, { now }), {
    code: 'key_revoked',
  })
  await assert.rejects(sealed('rsa256', 'rsaCa'), { code: 'key_mismatch' })
})

test('verifySeal() takes a seal of a certificate under a trusted root, and names both', async () => {
  const seal = await verifySeal(await sealed('leaf', 'intermediate'), trust, { now: at })
  assert.deepEqual(seal.signer, {
    keyId: leafKey.publicKey.id,
    algorithm: 'ES256',
    publisher: 'good',
    certificate: 'CN=leaf,O=Good',
  })
  const nameless = await verifySeal(await sealed('nameless', 'intermediate'), trust, { now: at })
  assert.equal(nameless.signer.certificate, 'spiffe://good.example/a, good.example')
  const old = await sealed('expired', 'intermediate')
  await assert.rejects(verifySeal(old, trust, { now: at }), { code: 'key_expired' })
  assert.ok(await verifySeal(old, trust, { now: at, skipCertificateExpiry: true }))
})

test('verifySeal() takes only the holder that a root is trusted for', async () => {
  const certificate = bytes('root')
  const by = async (chain: Name[], ...identities: (string | undefined)[]) =>
    await verifySeal(await sealed(...chain), {
      signers: [],
      roots: identities.map((identity) => ({ certificate, identity, publisher: identity })),
    }, { now: at })
  const named: Name[] = ['leaf', 'intermediate']
  const nameless: Name[] = ['nameless', 'intermediate']
  const strangers = ['CN=leaf', 'leaf', 'CN=leaf,O=Good ', 'cn=leaf,o=good', '', 'CN=root,O=Good']
  for (const identity of strangers) {
    await assert.rejects(by(named, identity), { code: 'signer_untrusted' }, identity)
  }
  await assert.rejects(by(nameless, 'good.example.com'), { code: 'signer_untrusted' })
  await assert.rejects(by(nameless, ''), { code: 'signer_untrusted' })
  assert.ok(await by(named, 'CN=leaf,O=Good'))
  assert.ok(await by(nameless, 'spiffe://good.example/a'))
  assert.equal((await by(nameless, 'x', 'good.example')).signer.publisher, 'good.example')
})
