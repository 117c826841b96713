/**
 * Keys in a PKCS#11 token: an HSM, a smart card, SoftHSM. The URI is that of RFC 7512:
 *
 *     pkcs11:token=ci;object=models?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/secrets/pin
 *
 * Needs the native addon `pkcs11js`, which is loaded when the first key is opened and not before.
 * Served: ECDSA on P-256, P-384 and P-521 (the token gets the digest), Ed25519, RSA with PKCS#1 v1.5 or PSS
 * (`alg=PS256`), and AES keys that wrap keys. Not served: PIN pads, RSA keys below 2048 bits.
 *
 * @module
 */
import { Buffer } from 'node:buffer'
import { readFile } from 'node:fs/promises'
import process from 'node:process'
import { type Algorithm, ALGORITHMS } from '../src/algorithms.ts'
import { type Bytes, equalBytes, toHex } from '../src/bytes.ts'
import { isSignetError, SignetError } from '../src/errors.ts'
import {
  checkAborted,
  type Kek,
  type Key,
  keyOf,
  type KeyProvider,
  type KeyUri,
  type ListedKey,
  type PublicKey,
  publicKey,
  requireAlgorithm,
  type SignOptions,
} from '../src/keys/mod.ts'
import { CK, type Cryptoki, holding, type LoadModule, loadModule } from './pkcs11/cryptoki.ts'
import { kekTemplate, openKek } from './pkcs11/kek.ts'
import { type Signing, signingOf } from './pkcs11/mechanisms.ts'
import {
  algorithmOf,
  certificateKey,
  common,
  describe,
  findAll,
  findOne,
  flag,
  newId,
  publicKeyOf,
  templateOf,
} from './pkcs11/objects.ts'
import { findToken, type Pin, type Session, type Token } from './pkcs11/token.ts'
import { formatTokenUri, parseObjectUri, parseTokenUri, type TokenUri } from './pkcs11/uri.ts'

export type {
  Attribute,
  Cryptoki,
  Handle,
  LoadModule,
  Mechanism,
  TokenInfo,
} from './pkcs11/cryptoki.ts'

/** Options of {@link pkcs11Keys}. */
export interface Pkcs11Options {
  /** Asks a person for a token's PIN, when the URI names none. */
  readonly pin?: ((token: string) => Promise<string> | string) | undefined
  /** Gets warnings: a PIN that stands in the URI. Default: `console.warn`. */
  readonly warn?: ((message: string) => void) | undefined
  /** The module where a URI names none. Default: environment variable `SIGNET_PKCS11_MODULE`, if set. */
  readonly module?: string | undefined
  /** Sessions open at once on one token, and so signatures computed at once. Default 4. */
  readonly sessions?: number | undefined
  /** Loads the module; tests put faults in here. */
  readonly load?: LoadModule | undefined
}

/** The provider of `pkcs11:`, and what tokens can do beyond signing. */
export interface Pkcs11Keys extends KeyProvider {
  /** Opens an AES key that wraps keys (`key_usage` if it may not). */
  openKek(uri: KeyUri, options?: SignOptions): Promise<Kek>
  /** Makes an AES-256 key that wraps keys, sensitive and not extractable (`file_exists`). */
  generateKek(uri: KeyUri, options?: SignOptions): Promise<Kek>
  /**
   * The private keys of a token; `object` and `id` in the URI narrow the list. CKA_LABEL is the label, CKA_ID
   * in hexadecimal the id; the URI holds no PIN and no module path.
   */
  list(uri: KeyUri, options?: SignOptions): Promise<readonly ListedKey[]>
  /**
   * Puts an X.509 certificate (DER) beside the private key of the URI. Its public key must be that key's
   * (`key_mismatch`); nothing else of it is verified.
   */
  importCertificate(uri: KeyUri, certificate: Uint8Array, options?: SignOptions): Promise<void>
}

const algorithms = (['ES256', 'ES384', 'ES512', 'Ed25519', 'RS256', 'PS256'] as const)
  .map((name) => ALGORITHMS[name])
const PROBE = new TextEncoder().encode('signet pair check')

/** The provider of `pkcs11:` keys. */
export function pkcs11Keys(options: Pkcs11Options = {}): Pkcs11Keys {
  const tokens = new Map<string, Token>()
  const warn = options.warn ?? ((message: string) => console.warn(message))
  let making: Promise<unknown> = Promise.resolve()

  /** Finds the token and logs in. The caller calls `token.leave` when done. */
  const enter = async (where: TokenUri, { signal }: SignOptions): Promise<Token> => {
    checkAborted(signal)
    const path = where.modulePath ?? options.module ?? process.env.SIGNET_PKCS11_MODULE
    if (path === undefined) {
      throw new SignetError('uri_malformed', 'pkcs11: URI names no module', {
        remedy: 'add ?module-path=/path/to/module.so',
      })
    }
    const module: Cryptoki = (options.load ?? loadModule)(path)
    const token = findToken(module, path, where, tokens, options.sessions ?? 4)
    const pin = await pinOf(where, token, options.pin, warn)
    checkAborted(signal)
    token.enter(pin)
    return token
  }

  /** Enters for one piece of work. */
  const within = async <T>(
    where: TokenUri,
    opts: SignOptions,
    work: (session: Session, token: Token) => T | Promise<T>,
    write: boolean = false,
  ): Promise<T> => {
    const token = await enter(where, opts)
    try {
      return await token.use((session) => work(session, token), { signal: opts.signal, write })
    } finally {
      token.leave()
    }
  }

  /** One after the other: tokens do not mind two objects of one name. */
  const alone = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = making.then(work)
    making = turn.catch(() => {})
    return turn
  }

  const open = async (where: TokenUri, opts: SignOptions): Promise<Key> => {
    const token = await enter(where, opts)
    try {
      return await openKey(token, where, opts)
    } catch (error) {
      token.leave()
      throw error
    }
  }

  return {
    scheme: 'pkcs11',
    algorithms,

    async open(uri, opts = {}) {
      return await open(parseObjectUri(uri), opts)
    },

    async generate(uri, algorithm, opts = {}) {
      const where = parseObjectUri(uri)
      requireAlgorithm(algorithms, algorithm)
      const signing = signingOf(algorithm)!
      if (where.algorithm !== undefined && where.algorithm !== algorithm.name) {
        throw new SignetError('usage_invalid', 'alg= in the URI names another algorithm')
      }
      return await alone(async () => {
        const found = await within(
          where,
          opts,
          (session) => generatePair(session, where, algorithm, signing, opts),
          true,
        )
        return await open({ ...where, id: found.id, algorithm: algorithm.name }, opts)
      })
    },

    async openKek(uri, opts = {}) {
      const where = parseObjectUri(uri, 'secret-key')
      const token = await enter(where, opts)
      try {
        return await openKek(token, where, () => token.leave())
      } catch (error) {
        token.leave()
        throw error
      }
    },

    async generateKek(uri, opts = {}) {
      const where = parseObjectUri(uri, 'secret-key')
      await alone(() =>
        within(where, opts, (session) => {
          refuseSecond(session, CK.class.secretKey, where)
          const template = kekTemplate(common(where, where.id ?? newId()))
          const mechanism = { mechanism: CK.mechanism.aesKey, parameter: null }
          session.module.C_GenerateKey(session.handle, mechanism, template)
        }, true)
      )
      return await this.openKek(uri, opts)
    },

    async list(uri, opts = {}) {
      const where = parseTokenUri(uri)
      return await within(
        where,
        opts,
        (session, token) =>
          Promise.all(
            findAll(session, templateOf(CK.class.privateKey, where)).map(
              async (handle): Promise<ListedKey> => {
                const found = describe(session, handle)
                const algorithm = known(() =>
                  algorithmOf(session, handle, where.algorithm ?? 'RS256')
                )
                const raw = algorithm && known(() => publicKeyOf(session, found, algorithm))
                return {
                  uri: formatTokenUri(token.label, found),
                  label: found.label,
                  id: toHex(found.id),
                  algorithm,
                  publicKey: algorithm && raw && await publicKey(algorithm, raw),
                }
              },
            ),
          ),
      )
    },

    async importCertificate(uri, certificate, opts = {}) {
      const where = parseObjectUri(uri)
      const { subject, publicKey: raw, algorithm } = certificateKey(certificate)
      const key = await open({ ...where, algorithm: where.algorithm ?? algorithm.name }, opts)
      await key.close()
      if (key.publicKey.algorithm !== algorithm || !equalBytes(key.publicKey.raw, raw)) {
        throw new SignetError('key_mismatch', 'the certificate is of another key')
      }
      await within(where, opts, (session) => {
        const { id } = findOne(session, CK.class.privateKey, where)
        session.module.C_CreateObject(session.handle, [
          ...common(where, id),
          { type: CK.attribute.class, value: CK.class.certificate },
          { type: CK.attribute.certificateType, value: 0 }, // CKC_X_509
          { type: CK.attribute.private, value: false },
          { type: CK.attribute.subject, value: Buffer.from(subject) },
          { type: CK.attribute.value, value: Buffer.from(certificate) },
        ])
      }, true)
    },
  }
}

/** Opens a signing key on a token that has been entered. */
async function openKey(token: Token, where: TokenUri, opts: SignOptions): Promise<Key> {
  const locate = (session: Session) => findOne(session, CK.class.privateKey, where)
  const { found, algorithm, raw, signing, always } = await token.use((session) => {
    const found = locate(session)
    if (!flag(session, found.handle, CK.attribute.sign, false)) {
      throw new SignetError('key_usage', 'the token’s key may not sign')
    }
    const algorithm = algorithmOf(session, found.handle, where.algorithm ?? 'RS256')
    if (where.algorithm !== undefined && where.algorithm !== algorithm.name) {
      throw new SignetError('algorithm_mismatch', `the token’s key is one of ${algorithm.name}`)
    }
    return {
      found,
      algorithm,
      raw: publicKeyOf(session, found, algorithm),
      signing: served(session, algorithm),
      always: flag(session, found.handle, CK.attribute.alwaysAuthenticate, false),
    }
  }, opts)
  const half: PublicKey = await publicKey(algorithm, raw)
  let place = { age: -1, handle: found.handle }
  const size = algorithm.signatureBytes ?? 1024
  const sign = (bytes: Uint8Array, { signal }: SignOptions): Promise<Bytes> =>
    token.use(async (session) => {
      const { module, handle, age, pin } = session
      if (place.age !== age) place = { age, handle: locate(session).handle }
      module.C_SignInit(handle, signing.mechanism(), place.handle)
      if (always) module.C_Login(handle, CK.user.contextSpecific, pin ?? '')
      const output = session.scratch.subarray(0, size)
      const input = bufferOf(signing.input(bytes), session.scratch.subarray(size))
      const signature = await holding(
        [handle, input, output],
        () => module.C_SignAsync(handle, input, output),
      )
      if (algorithm.signatureBytes !== undefined && signature.length !== size) {
        throw new SignetError('key_backend_unavailable', 'the token’s signature has a wrong length')
      }
      return new Uint8Array(signature)
    }, { signal })
  // A public object that lies beside the wrong key is found out here, not at the first verifier.
  const probe = signing.mode === 'message'
    ? PROBE
    : new Uint8Array(await crypto.subtle.digest(algorithm.hash!, PROBE))
  if (!await half.verify(PROBE, await sign(probe, opts))) {
    throw new SignetError(
      'key_mismatch',
      'the token’s public key does not belong to its private key',
    )
  }
  return keyOf(half, {
    modes: [signing.mode],
    sign: (input, opts) => sign(input.bytes, opts),
    close: () => token.leave(),
  })
}

/**
 * A copy, in `room` if it fits there. It lies somewhere even if it is empty: the addon hands an empty buffer on as
 * a null pointer.
 */
function bufferOf(bytes: Uint8Array, room: Buffer): Buffer {
  const buffer = bytes.length < room.length ? room : Buffer.alloc(bytes.length + 1)
  buffer.set(bytes)
  return buffer.subarray(0, bytes.length)
}

/** How a token serves an algorithm; asked from its list of mechanisms, never tried out. */
function served({ module, slot }: Session, algorithm: Algorithm): Signing {
  const signing = signingOf(algorithm)
  if (
    signing !== undefined && module.C_GetMechanismList(slot).includes(signing.number) &&
    module.C_GetMechanismInfo(slot, signing.number).flags & CK.sign
  ) return signing
  throw new SignetError('algorithm_unsupported', `the token does not sign with ${algorithm.name}`)
}

async function generatePair(
  session: Session,
  where: TokenUri,
  algorithm: Algorithm,
  signing: Signing,
  { signal }: SignOptions,
): Promise<{ readonly id: Bytes }> {
  const A = CK.attribute
  refuseSecond(session, CK.class.privateKey, where)
  const id = where.id ?? newId()
  const { module, handle } = session
  const mechanism = { mechanism: signing.generate, parameter: null }
  const halves = [
    [
      ...common(where, id),
      { type: A.private, value: false },
      { type: A.verify, value: true },
      ...signing.template(algorithm),
    ],
    [
      ...common(where, id),
      { type: A.private, value: true },
      { type: A.sensitive, value: true },
      { type: A.extractable, value: false },
      { type: A.sign, value: true },
      { type: A.decrypt, value: false },
      { type: A.unwrap, value: false },
    ],
  ] as const
  const pair = await holding(
    [handle, halves],
    () => module.C_GenerateKeyPairAsync(handle, mechanism, ...halves),
  )
  if (signal?.aborted) {
    for (const half of [pair.privateKey, pair.publicKey]) module.C_DestroyObject(handle, half)
  }
  checkAborted(signal)
  return { id }
}

function refuseSecond(session: Session, objectClass: number, where: TokenUri): void {
  if (findAll(session, templateOf(objectClass, where)).length === 0) return
  throw new SignetError('file_exists', 'the token has a key of that name already')
}

/** The PIN, from where the URI says or from a person; not asked where the token is open or wants none. */
async function pinOf(
  where: TokenUri,
  token: Token,
  ask: Pkcs11Options['pin'],
  warn: (message: string) => void,
): Promise<Pin | undefined> {
  if (where.pinValue !== undefined) {
    warn('a PIN stands in a key URI, where other users see it; use pin-source=/path/to/file')
    return { text: where.pinValue, unattended: true }
  }
  if (where.pinSource !== undefined) {
    return { text: await readPin(where.pinSource), unattended: true }
  }
  if (!token.wantsPin || ask === undefined) return undefined
  return { text: await ask(token.label), unattended: false }
}

/** A PIN file: its first line. `pin-source` is a path or a `file:` URI; programs (`|…`) are not run. */
async function readPin(source: string): Promise<string> {
  if (source.startsWith('|')) {
    throw new SignetError('uri_malformed', 'pin-source names a program; only files are read')
  }
  const path = /^file:/i.test(source) ? source.replace(/^file:(\/\/(?=\/))?/i, '') : source
  try {
    const [line = ''] = (await readFile(path, 'utf8')).split(/\r?\n/, 1)
    return line
  } catch (cause) {
    throw new SignetError('file_unreadable', 'the PIN file cannot be read', { where: path, cause })
  }
}

function known<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (error) {
    // One odd key must not hide the others.
    if (isSignetError(error) && !isSignetError(error, 'key_backend_unavailable')) return undefined
    throw error
  }
}
