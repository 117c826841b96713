/**
 * Makes `certificates.json` beside it, with the command `openssl` (3.0 or later):
 *
 *     deno run -A test/vectors/certificates.ts
 *
 * Keys are new every time and thrown away, but that of the leaf, which goes into the file as PKCS#8 under
 * `leafKey`: it is no secret, and nothing may ever trust it. Certificates are valid from 2025 to 2125 unless they say
 * otherwise; tests give the time to check at.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Certificate {
  /** Name of the key; certificates with one key share it. */
  readonly key: string
  /** Name of the certificate that issues it; itself when absent. */
  readonly by?: string
  /** Subject as openssl writes it. */
  readonly subject: string
  /** Lines of openssl's extension section. */
  readonly extensions: readonly string[]
  readonly md?: string
  /** Signs with RSASSA-PSS. */
  readonly pss?: boolean
  readonly from?: string
  readonly to?: string
}

const KEYS: Readonly<Record<string, readonly string[]>> = {
  p256: ['EC', 'ec_paramgen_curve:P-256'],
  p384: ['EC', 'ec_paramgen_curve:P-384'],
  p521: ['EC', 'ec_paramgen_curve:P-521'],
  rsa: ['RSA', 'rsa_keygen_bits:2048'],
  weak: ['RSA', 'rsa_keygen_bits:1024'],
  ed25519: ['ED25519'],
}

const SKI = 'subjectKeyIdentifier=hash'
const AKI = 'authorityKeyIdentifier=keyid'
const CA = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign', SKI]
const INTERMEDIATE = [...CA, AKI]
const SIGN = 'keyUsage=critical,digitalSignature'
const CODE = 'extendedKeyUsage=codeSigning'
const LEAF = ['basicConstraints=critical,CA:FALSE', SIGN, CODE, SKI, AKI]
const org = (name: string) => `/O=Good/CN=${name}`

/** A leaf of its own key under the intermediate. */
function leaf(name: string, extensions: readonly string[], by = 'intermediate'): Certificate {
  return { key: 'leaf:p256', by, subject: org(name), extensions }
}

/** An intermediate under the root, and a leaf under it. */
function branch(
  name: string,
  extensions: readonly string[],
  rest: Partial<Certificate> = {},
): Record<string, Certificate> {
  const ca = `${name}Ca`
  return {
    [ca]: { key: `${ca}:p256`, by: 'root', subject: org(ca), extensions, md: 'sha384', ...rest },
    [name]: leaf(name, LEAF, ca),
  }
}

function many(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join(',')
}

/** Names are `key:kind`; a certificate is made after the one that issues it. */
const CERTIFICATES: Readonly<Record<string, Certificate>> = {
  root: { key: 'root:p384', subject: org('root'), extensions: CA, md: 'sha384' },
  intermediate: {
    key: 'intermediate:p256',
    by: 'root',
    subject: org('intermediate'),
    extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', ...INTERMEDIATE.slice(1)],
    md: 'sha384',
  },
  leaf: leaf('leaf', [
    ...LEAF,
    'subjectAltName=URI:spiffe://good.example/ci,email:ci@good.example,DNS:good.example,IP:192.0.2.7',
  ]),

  nameless: {
    ...leaf('', [...LEAF, 'subjectAltName=critical,URI:spiffe://good.example/a,DNS:good.example']),
    subject: '/',
  },

  // Every way to sign. The first signs with a hash that is not its curve's.
  mixedCa: {
    key: 'mixedCa:p384',
    by: 'root',
    subject: org('mixedCa'),
    extensions: INTERMEDIATE,
    md: 'sha256',
  },
  mixed: { ...leaf('mixed', LEAF, 'mixedCa'), md: 'sha512' },
  p521Ca: {
    key: 'p521Ca:p521',
    by: 'root',
    subject: org('p521Ca'),
    extensions: INTERMEDIATE,
    md: 'sha384',
  },
  p521: { ...leaf('p521', LEAF, 'p521Ca'), key: 'p521:p521', md: 'sha512' },
  p521Short: { ...leaf('p521Short', LEAF, 'p521Ca'), md: 'sha256' },
  p256Long: { ...leaf('p256Long', LEAF), md: 'sha384' },
  rootRsa: { key: 'rootRsa:rsa', subject: org('rootRsa'), extensions: CA },
  rsaCa: {
    key: 'rsaCa:rsa',
    by: 'rootRsa',
    subject: org('rsaCa'),
    extensions: INTERMEDIATE,
    md: 'sha512',
  },
  rsa256: { ...leaf('rsa256', LEAF, 'rsaCa'), key: 'leaf384:p384' },
  rsa384: { ...leaf('rsa384', LEAF, 'rsaCa'), md: 'sha384' },
  pss256: { ...leaf('pss256', LEAF, 'rsaCa'), pss: true },
  pss512: { ...leaf('pss512', LEAF, 'rsaCa'), pss: true, md: 'sha512' },
  rootEd25519: { key: 'rootEd25519:ed25519', subject: org('rootEd25519'), extensions: CA },
  ed25519: leaf('ed25519', LEAF, 'rootEd25519'),

  // Signatures that are refused.
  sha1: { ...leaf('sha1', LEAF, 'rsaCa'), md: 'sha1' },
  rootWeak: { key: 'rootWeak:weak', subject: org('rootWeak'), extensions: CA },
  weak: leaf('weak', LEAF, 'rootWeak'),
  impostor: {
    key: 'impostor:p384',
    subject: org('root'),
    extensions: [...CA.slice(0, 2), 'subjectKeyIdentifier=none'],
    md: 'sha384',
  },

  impostorRsa: {
    key: 'impostorRsa:p256',
    subject: org('rootRsa'),
    extensions: [...CA.slice(0, 2), 'subjectKeyIdentifier=none'],
  },

  // Issuers that may not issue.
  ...branch('noBasicConstraints', ['keyUsage=digitalSignature', SKI, AKI]),
  ...branch('notCa', ['basicConstraints=critical,CA:FALSE', SKI, AKI]),
  ...branch('noCertSign', ['basicConstraints=critical,CA:TRUE', SIGN, SKI, AKI]),
  ...branch('caForServers', [...INTERMEDIATE, 'extendedKeyUsage=serverAuth']),
  ...branch('caForCode', [...INTERMEDIATE, CODE]),
  ...branch('expiredCa', INTERMEDIATE, { to: '20260101000000Z' }),
  ...branch('criticalCa', [...INTERMEDIATE, '1.2.3.4=critical,ASN1:UTF8String:what']),
  certSignWithoutCa: leaf('certSignWithoutCa', [
    'basicConstraints=critical,CA:FALSE',
    'keyUsage=critical,digitalSignature,keyCertSign',
    CODE,
    AKI,
  ]),
  deepCa: {
    key: 'deepCa:p256',
    by: 'intermediate',
    subject: org('deepCa'),
    extensions: INTERMEDIATE,
  },
  deep: leaf('deep', LEAF, 'deepCa'),
  // Self-issued: it does not count against the path length of the intermediate (§6.1.4 l).
  renewedCa: {
    key: 'renewedCa:p256',
    by: 'intermediate',
    subject: org('intermediate'),
    extensions: INTERMEDIATE,
  },
  renewed: leaf('renewed', LEAF, 'renewedCa'),

  // Seven CAs one below the other.
  ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map((i) => [`long${i}`, {
    key: `long${i}:p256`,
    by: i === 1 ? 'root' : `long${i - 1}`,
    subject: org(`long${i}`),
    extensions: INTERMEDIATE,
    md: i === 1 ? 'sha384' : 'sha256',
  }])),
  long: leaf('long', LEAF, 'long7'),
  namelessCa: {
    key: 'namelessCa:p256',
    by: 'root',
    subject: '/',
    extensions: INTERMEDIATE,
    md: 'sha384',
  },
  ofNamelessCa: leaf('ofNamelessCa', LEAF, 'namelessCa'),

  // A circle that no root is in.
  circleA: { key: 'circleA:p256', subject: org('circleA'), extensions: CA },
  circleB: {
    key: 'circleB:p256',
    by: 'circleA',
    subject: org('circleB'),
    extensions: INTERMEDIATE,
  },
  circleAByB: {
    key: 'circleA:p256',
    by: 'circleB',
    subject: org('circleA'),
    extensions: INTERMEDIATE,
  },
  circle: leaf('circle', LEAF, 'circleB'),

  // CAs of one name, five keys, two certificates each: most pairs could be links, and no root is near.
  ...Object.fromEntries([5, 4, 3, 2, 1].flatMap((i) =>
    ['', 'Too'].map((too) => [
      `maze${i}${too}`,
      {
        key: `maze${i}:p256`,
        ...(i < 5 ? { by: `maze${i + 1}` } : {}),
        subject: org('maze'),
        extensions: [...CA, 'authorityKeyIdentifier=none'],
      },
    ])
  )),
  maze: leaf('mazeLeaf', [SIGN, CODE, 'authorityKeyIdentifier=none'], 'maze1'),

  // Leaves.
  onlyKeyUsage: leaf('onlyKeyUsage', [SIGN, SKI, AKI]),
  onlyCodeSigning: leaf('onlyCodeSigning', [CODE, SKI, AKI]),
  noUsage: leaf('noUsage', [SKI, AKI]),
  server: leaf('server', [SIGN, 'extendedKeyUsage=serverAuth', AKI]),
  anyUsage: leaf('anyUsage', [SIGN, 'extendedKeyUsage=anyExtendedKeyUsage', AKI]),
  agreement: leaf('agreement', ['keyUsage=critical,keyAgreement', CODE, AKI]),
  critical: leaf('critical', [...LEAF, '1.2.3.4=critical,ASN1:UTF8String:what']),
  uncritical: leaf('uncritical', [...LEAF, '1.2.3.4=ASN1:UTF8String:what']),
  otherIssuer: leaf('otherIssuer', [SIGN, CODE, 'authorityKeyIdentifier=DER:3006800401020304']),
  otherSerial: leaf('otherSerial', [SIGN, CODE, 'authorityKeyIdentifier=DER:3003820105']),
  otherMaker: leaf('otherMaker', [
    SIGN,
    CODE,
    'authorityKeyIdentifier=DER:3012A110A40E300C310A3008060355040A0C0178',
  ]),
  expired: { ...leaf('expired', LEAF), to: '20250201000000Z' },
  rsaLeaf: { ...leaf('rsaLeaf', LEAF), key: 'rsaLeaf:rsa' },
  edLeaf: { ...leaf('edLeaf', LEAF), key: 'edLeaf:ed25519' },
  caLeaf: leaf('caLeaf', [
    'basicConstraints=critical,CA:TRUE',
    'keyUsage=critical,digitalSignature,keyCertSign',
    CODE,
    AKI,
  ]),
  // As the reference's test certificates are: named like its issuer, marked CA, may not issue.
  oddLeaf: leaf('intermediate', ['basicConstraints=critical,CA:TRUE', SIGN, CODE, SKI, AKI]),
  selfSigned: {
    key: 'selfSigned:p256',
    subject: org('selfSigned'),
    extensions: ['basicConstraints=critical,CA:TRUE', 'keyUsage=digitalSignature', CODE],
  },
  hostile: leaf('say \\"yes\\"\\, O=Evil \u202eevil\u0007', LEAF),

  // Name constraints.
  constrainedCa: {
    key: 'constrainedCa:p256',
    by: 'root',
    subject: '/O=Good/CN=constrainedCa',
    extensions: [
      ...INTERMEDIATE,
      'nameConstraints=critical,permitted;dirName:good,permitted;DNS:good.example,' +
      'permitted;URI:.good.example,permitted;email:good.example,' +
      'permitted;IP:192.0.2.0/255.255.255.0,excluded;dirName:evil,excluded;DNS:evil.good.example',
    ],
    md: 'sha384',
  },
  ncInside: leaf('inside', [
    ...LEAF,
    'subjectAltName=DNS:a.good.example,DNS:good.example,URI:https://a.good.example/x,' +
    'email:a@good.example,IP:192.0.2.200,URI:https://user@b.good.example:8080',
  ], 'constrainedCa'),
  ncShort: { ...leaf('x', LEAF, 'constrainedCa'), subject: '/O=Good' },
  ncMulti: { ...leaf('x', LEAF, 'constrainedCa'), subject: '/O=Good+OU=x/CN=x' },
  ...branch('ncBox', [...INTERMEDIATE, 'nameConstraints=permitted;email:a@good.example']),
  ncBox: leaf('ncBox', [...LEAF, 'subjectAltName=email:a@GOOD.example'], 'ncBoxCa'),
  ncBoxCase: leaf('ncBoxCase', [...LEAF, 'subjectAltName=email:A@good.example'], 'ncBoxCa'),
  ncBoxHost: leaf('ncBoxHost', [...LEAF, 'subjectAltName=email:a@bad.example'], 'ncBoxCa'),
  ncBoxLess: leaf('ncBoxLess', [...LEAF, 'subjectAltName=email:@good.example'], 'constrainedCa'),
  ncBoxQuoted: leaf(
    'ncBoxQuoted',
    [...LEAF, 'subjectAltName=email:"a@bad.example"@good.example'],
    'constrainedCa',
  ),
  ncOfLeaf: leaf('ncOfLeaf', [...LEAF, 'nameConstraints=permitted;DNS:good.example']),
  ncBadCa: {
    key: 'ncBadCa:p256',
    by: 'constrainedCa',
    subject: '/O=Bad/CN=ncBadCa',
    extensions: INTERMEDIATE,
  },
  ncBelowBad: leaf('ncBelowBad', LEAF, 'ncBadCa'),
  // Its own name is outside of what it may name: that binds its leaves, not its renewal (§6.1.3 b).
  ncOtherCa: {
    key: 'ncOtherCa:p256',
    by: 'root',
    subject: '/O=Other/CN=ncOtherCa',
    extensions: [...INTERMEDIATE, 'nameConstraints=permitted;dirName:good'],
    md: 'sha384',
  },
  ncOtherRenewedCa: {
    key: 'ncOtherRenewedCa:p256',
    by: 'ncOtherCa',
    subject: '/O=Other/CN=ncOtherCa',
    extensions: INTERMEDIATE,
  },
  ncOther: leaf('ncOther', LEAF, 'ncOtherRenewedCa'),
  ncOtherSelf: { ...leaf('x', LEAF, 'ncOtherCa'), subject: '/O=Other/CN=ncOtherCa' },
  ...branch('ncWildcard', [...INTERMEDIATE, 'nameConstraints=critical,excluded;DNS:a.example']),
  ncWildcard: leaf('ncWildcard', [...LEAF, 'subjectAltName=DNS:*.example'], 'ncWildcardCa'),
  ncDnsAddress: leaf('ncDnsAddress', [...LEAF, 'subjectAltName=DNS:192.0.2.7'], 'ncWildcardCa'),
  ...branch('ncOtherName', [
    ...INTERMEDIATE,
    'nameConstraints=critical,excluded;otherName:1.2.3.4;UTF8:x',
  ]),
  ncOtherName: leaf('ncOtherName', [
    ...LEAF,
    'subjectAltName=otherName:1.2.3.4;UTF8:y',
  ], 'ncOtherNameCa'),
  ...branch('ncMany', [
    ...INTERMEDIATE,
    `nameConstraints=critical,${many(129, (i) => `permitted;DNS:${i}.a`)}`,
  ]),
  ncMany: leaf('ncMany', [
    ...LEAF,
    `subjectAltName=${many(128, (i) => `DNS:${i}.a`)}`,
  ], 'ncManyCa'),
  ncFew: leaf('ncFew', [...LEAF, `subjectAltName=${many(126, (i) => `DNS:${i}.a`)}`], 'ncManyCa'),
  ncSubject: { ...leaf('x', LEAF, 'constrainedCa'), subject: '/O=Bad/CN=x' },
  ncExcluded: { ...leaf('x', LEAF, 'constrainedCa'), subject: '/O=Good/OU=EVIL/CN=x' },
  ncMailbox: {
    ...leaf('x', LEAF, 'constrainedCa'),
    subject: '/O=Good/CN=x/emailAddress=a@bad.example',
  },
  ...Object.fromEntries(
    Object.entries({
      ncDns: 'DNS:notgood.example',
      ncDnsExcluded: 'DNS:a.EVIL.good.example',
      ncDnsWildcard: 'DNS:*.good.example',
      ncUri: 'URI:https://good.example/x',
      ncUriUser: 'URI:https://a.good.example@bad.example/',
      ncUriOpaque: 'URI:urn:good.example',
      ncEmail: 'email:a@b.good.example',
      ncIp: 'IP:192.0.3.1',
      ncIp6: 'IP:2001:db8::1',
    }).map(([name, san]) => [
      name,
      leaf(name, [...LEAF, `subjectAltName=${san}`], 'constrainedCa'),
    ]),
  ),
}

const folder = mkdtempSync(join(tmpdir(), 'signet-certificates-'))
const openssl = (...args: string[]) =>
  execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })

try {
  const made: Record<string, string> = {}
  const keys = new Set<string>()
  let serial = 0x1000
  for (const [name, one] of Object.entries(CERTIFICATES)) {
    const issuer = one.by ?? name
    for (const key of [one.key, CERTIFICATES[issuer]!.key]) {
      if (keys.has(key)) continue
      const [algorithm = '', ...options] = KEYS[key.split(':')[1]!]!
      const pkey = options.flatMap((option) => ['-pkeyopt', option])
      openssl('genpkey', '-algorithm', algorithm, ...pkey, '-out', `${key}.key`)
      keys.add(key)
    }
    const issuerKey = CERTIFICATES[issuer]!.key
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, 'index'), '')
    writeFileSync(join(folder, name, 'serial'), (++serial).toString(16))
    writeFileSync(
      join(folder, name, 'config'),
      `[ca]
default_ca = this
[this]
database = ${name}/index
serial = ${name}/serial
new_certs_dir = ${name}
policy = any
email_in_dn = yes
unique_subject = no
[any]
O = optional
OU = optional
CN = optional
emailAddress = optional
[req]
distinguished_name = none
[none]
[good]
O = Good
[evil]
O = Good
OU = Evil
[extensions]
${one.extensions.join('\n')}
`,
    )
    openssl(
      ...['req', '-new', '-utf8', '-config', `${name}/config`, '-key', `${one.key}.key`],
      ...['-subj', one.subject, '-out', `${name}/request`],
    )
    const signs = one.by === undefined
      ? ['-selfsign', '-keyfile', `${one.key}.key`]
      : ['-cert', `${one.by}.pem`, '-keyfile', `${issuerKey}.key`]
    const pss = ['rsa_padding_mode:pss', 'rsa_pss_saltlen:digest']
    openssl(
      ...['ca', '-batch', '-notext', '-preserveDN', '-utf8', '-config', `${name}/config`],
      ...['-extensions', 'extensions', '-in', `${name}/request`, '-out', `${name}.pem`],
      ...['-startdate', one.from ?? '20250101000000Z', '-enddate', one.to ?? '21250101000000Z'],
      ...['-md', issuerKey.endsWith('ed25519') ? 'null' : one.md ?? 'sha256', ...signs],
      ...(one.pss ? pss.flatMap((option) => ['-sigopt', option]) : []),
    )
    const pem = readFileSync(join(folder, `${name}.pem`), 'utf8')
    made[name] = pem.replace(/-----[A-Z ]+-----|\s/g, '')
  }
  const pkcs8 = openssl('pkcs8', '-topk8', '-nocrypt', '-in', 'leaf:p256.key', '-outform', 'DER')
  made.leafKey = pkcs8.toString('base64')
  const out = fileURLToPath(new URL('certificates.json', import.meta.url))
  writeFileSync(out, JSON.stringify(made, null, 2) + '\n')
} finally {
  rmSync(folder, { recursive: true })
}
