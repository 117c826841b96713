/**
 * The part of PKCS#11 v2.40/3.0 that we use, as the npm package `pkcs11js` offers it, and its loading.
 * The addon is native code: it is loaded when the first `pkcs11:` key is opened and never before.
 */
import type { Buffer } from 'node:buffer'
import { createRequire } from 'node:module'
import { SignetError } from '../../src/errors.ts'
import { faultOf, isFault } from './faults.ts'

/** A session or an object. */
export type Handle = Buffer
/** One attribute; read ones hold bytes. */
export interface Attribute {
  /** CKA_… */
  readonly type: number
  /** A CK_ULONG as number, a CK_BBOOL as boolean. */
  readonly value?: Buffer | number | boolean | string
}
/** A mechanism and its parameter. */
export interface Mechanism {
  /** CKM_… */
  readonly mechanism: number
  /** As the addon wants it. */
  readonly parameter?: unknown
}
/** What a token says of itself. Texts are padded with blanks. */
export interface TokenInfo {
  /** Its name. */
  readonly label: string
  /** Its maker. */
  readonly manufacturerID: string
  /** Its kind. */
  readonly model: string
  /** Its number. */
  readonly serialNumber: string
  /** CKF_… */
  readonly flags: number
}

/** The functions in use, under their names in the standard. A slot is an opaque handle. */
export interface Cryptoki {
  /** Starts the module (§5.4). */
  C_Initialize(options: { flags: number }): void
  /** Slots, with a token or all (§5.5). */
  C_GetSlotList(present: boolean): Handle[]
  /** What a token says of itself (§5.5). */
  C_GetTokenInfo(slot: Handle): TokenInfo
  /** Mechanisms of a token (§5.5). */
  C_GetMechanismList(slot: Handle): number[]
  /** What a mechanism is good for (§5.5). */
  C_GetMechanismInfo(slot: Handle, mechanism: number): { readonly flags: number }
  /** Opens a session (§5.6). */
  C_OpenSession(slot: Handle, flags: number): Handle
  /** Closes one (§5.6). */
  C_CloseSession(session: Handle): void
  /** Logs the process in (§5.6). */
  C_Login(session: Handle, user: number, pin: string): void
  /** Begins a search (§5.7). */
  C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void
  /** Goes on with it (§5.7). */
  C_FindObjects(session: Handle, count: number): Handle[]
  /** Ends it (§5.7). */
  C_FindObjectsFinal(session: Handle): void
  /** Reads attributes (§5.7). */
  C_GetAttributeValue(
    session: Handle,
    object: Handle,
    template: readonly Attribute[],
  ): { readonly type: number; readonly value: Buffer }[]
  /** Makes an object (§5.7). */
  C_CreateObject(session: Handle, template: readonly Attribute[]): Handle
  /** Destroys one (§5.7). */
  C_DestroyObject(session: Handle, object: Handle): void
  /** Begins a signature (§5.13). */
  C_SignInit(session: Handle, mechanism: Mechanism, key: Handle): void
  /** Makes it, on another thread (§5.13). */
  C_SignAsync(session: Handle, input: Buffer, output: Buffer): Promise<Buffer>
  /** Makes a secret key (§5.18). */
  C_GenerateKey(session: Handle, mechanism: Mechanism, template: readonly Attribute[]): Handle
  /** Makes a key pair, on another thread (§5.18). */
  C_GenerateKeyPairAsync(
    session: Handle,
    mechanism: Mechanism,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): Promise<{ readonly publicKey: Handle; readonly privateKey: Handle }>
  /** Wraps a key, on another thread (§5.18). */
  C_WrapKeyAsync(
    session: Handle,
    mechanism: Mechanism,
    wrapping: Handle,
    key: Handle,
    output: Buffer,
  ): Promise<Buffer>
  /** Unwraps one, on another thread (§5.18). */
  C_UnwrapKeyAsync(
    session: Handle,
    mechanism: Mechanism,
    unwrapping: Handle,
    wrapped: Buffer,
    template: readonly Attribute[],
  ): Promise<Handle>
}

/** Numbers of the standard's header, grouped as there. */
export const CK = {
  session: { rw: 2, serial: 4 },
  token: { loginRequired: 0x4, initialized: 0x400, finalTry: 0x20000, locked: 0x40000 },
  sign: 0x800, // CKF_SIGN of a mechanism
  osLocking: 2,
  user: { user: 1, contextSpecific: 2 },
  class: { certificate: 1, publicKey: 2, privateKey: 3, secretKey: 4 },
  key: { rsa: 0, ec: 3, generic: 0x10, aes: 0x1f, edwards: 0x40 },
  attribute: {
    class: 0x0,
    token: 0x1,
    private: 0x2,
    label: 0x3,
    value: 0x11,
    certificateType: 0x80,
    subject: 0x101,
    id: 0x102,
    keyType: 0x100,
    sensitive: 0x103,
    encrypt: 0x104,
    decrypt: 0x105,
    wrap: 0x106,
    unwrap: 0x107,
    sign: 0x108,
    verify: 0x10a,
    modulus: 0x120,
    modulusBits: 0x121,
    publicExponent: 0x122,
    valueLength: 0x161,
    extractable: 0x162,
    modifiable: 0x170,
    ecParams: 0x180,
    ecPoint: 0x181,
    alwaysAuthenticate: 0x202,
  },
  mechanism: {
    rsaKeyPair: 0x0,
    rsaPkcs: 0x1,
    rsaPss: 0xd,
    sha256: 0x250,
    ecKeyPair: 0x1040,
    ecdsa: 0x1041,
    edwardsKeyPair: 0x1055,
    eddsa: 0x1057,
    aesKey: 0x1080,
    aesKeyWrap: 0x2109,
  },
  mgf1Sha256: 2,
  pssParameters: 5, // pkcs11js: CK_PARAMS_RSA_PSS
} as const

/** Loads a PKCS#11 module, by its path. */
export type LoadModule = (path: string) => Cryptoki

const loaded = new Map<string, Cryptoki>()

/**
 * Loads a module through `pkcs11js`, once per process: PKCS#11 state belongs to the process.
 * `key_backend_unavailable` where the addon is not installed or not built, or the module does not load.
 */
export const loadModule: LoadModule = (path) => {
  let module = loaded.get(path)
  if (module === undefined) {
    const { PKCS11 } = addon()
    const fresh = new PKCS11()
    try {
      fresh.load(path)
    } catch (cause) {
      throw new SignetError('key_backend_unavailable', `PKCS#11 module ${path} does not load`, {
        where: path,
        remedy: 'name the library of your token in module-path=',
        cause,
      })
    }
    loaded.set(path, module = fresh)
  }
  return module
}

const held = new Set<readonly unknown[]>()

/**
 * Keeps buffers alive while the addon works with them: it hands them to another thread as bare pointers, and
 * nothing else may point at them by then (seen on Bun: signatures of memory that had been given away).
 */
export async function holding<T>(buffers: readonly unknown[], work: () => Promise<T>): Promise<T> {
  held.add(buffers)
  try {
    return await work()
  } finally {
    held.delete(buffers)
  }
}

/** Initialises a module; that another part of the process has done so already is fine. */
export function initialize(module: Cryptoki): void {
  try {
    module.C_Initialize({ flags: CK.osLocking })
  } catch (error) {
    if (!isFault(error, 'CKR_CRYPTOKI_ALREADY_INITIALIZED')) {
      throw faultOf(error, 'C_Initialize')
    }
  }
}

function addon(): { PKCS11: new () => Cryptoki & { load(path: string): void } } {
  try {
    return createRequire(import.meta.url)('pkcs11js')
  } catch (cause) {
    throw new SignetError('key_backend_unavailable', 'the native addon pkcs11js is not there', {
      remedy: 'install it: npm install pkcs11js (in this repository: deno task native)',
      cause,
    })
  }
}
