/**
 * Seals of aumai-modelseal 0.1.0: a `signed_manifest.json` verified as its own tool would, where the signature
 * demands that, and more strictly where the tool was blind: files that nobody listed, links, names that lead
 * out of the folder, duplicate members, and a size that is not the listed one all count.
 *
 * The signature covers the manifest alone. Who signed, when, with what algorithm stands outside of it and can
 * be changed by anybody: these claims are given under a name that says so. The signer is who the verifier's
 * trust says, and the algorithm is that of the trusted key.
 */
import {
  type Bytes,
  concat,
  fromBase64,
  fromHex,
  fromUtf8,
  owned,
  toBase64,
  utf8,
} from '../bytes.ts'
import { ecdsaFromDer } from '../crypto/mod.ts'
import { MAX_BUNDLE_BYTES } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import { type JsonValue, parseJson } from '../json.ts'
import { type PublicKey, readPublicKeys, refusal, toPublicPem } from '../keys/mod.ts'
import {
  checkDistinct,
  checkName,
  type CompareOptions,
  compareTree,
  type Comparison,
  type FileTree,
  type Publisher,
  type Signer,
  type Trust,
  type TrustedSigner,
} from '../models/mod.ts'
import {
  malformed,
  type Manifest,
  manifestBytes,
  Members,
  reading,
  readManifest,
} from './modelseal_json.ts'

/**
 * What a signed manifest says outside of its signature. Anybody can have written it: show it as a claim, and
 * decide nothing by it.
 */
export interface UnverifiedClaims {
  /** Whom the file says that the signer is. */
  readonly signerId: string
  /** When it says that it was signed. */
  readonly signedAt: string
  /** The algorithm that it names; the old tool writes `ecdsa_p256` for every curve. */
  readonly algorithm: string
  /** The key that it names, base64 of PEM. Never used. */
  readonly publicKey: string
}

/** A signed manifest as it was read. Nothing of it has been verified. */
export interface SignedManifest {
  /** What was signed. */
  readonly manifest: Manifest
  /** What was not signed. */
  readonly unverified: UnverifiedClaims
  /** The signature, raw or DER. */
  readonly signature: Bytes
}

/**
 * A manifest whose signature holds under a trusted, valid key, and whose names and digests are well formed.
 * Only {@link verifyManifest} makes one: the private member makes the type nominal, and the room exports the
 * type alone.
 */
export class VerifiedManifest {
  readonly #nominal = true
  /** Who signed, as the verifier knows them. */
  readonly signer: Signer
  /** What was signed. */
  readonly manifest: Manifest
  /** What the file claims besides. */
  readonly unverified: UnverifiedClaims

  /** Called by {@link verifyManifest} alone. */
  constructor(signer: Signer, { manifest, unverified }: SignedManifest) {
    this.signer = signer
    this.manifest = manifest
    this.unverified = unverified
  }
}

/**
 * Reads a signed manifest. Errors: `manifest_malformed`, `too_large`. A duplicate member is refused, which
 * the old tool took (the last one won).
 */
export function parseSignedManifest(bytes: Uint8Array): SignedManifest {
  return reading(() => {
    const json = parseJson(bytes, {
      what: 'manifest',
      maxBytes: MAX_BUNDLE_BYTES,
      maxDepth: 32,
      maxValues: 8_000_000, // four for each file
    })
    const file = new Members(json, 'file')
    const signature = new Members(file.get('signature'), 'signature')
    const algorithm = signature.text('algorithm')
    if (!['ed25519', 'ecdsa_p256'].includes(algorithm)) {
      throw malformed('"signature.algorithm" is neither "ed25519" nor "ecdsa_p256"')
    }
    return {
      manifest: readManifest(file.get('manifest')),
      unverified: {
        signerId: signature.text('signer_id'),
        signedAt: signature.time('signed_at'),
        algorithm,
        publicKey: signature.text('public_key'),
      },
      signature: fromHex(signature.text('signature_hex'), 'the signature'),
    }
  })
}

/** Options of {@link verifyManifest}. */
export interface VerifyManifestOptions {
  /** Seconds since 1970 at which the key must be valid. Default: now. */
  readonly now?: number | undefined
  /** Takes names that differ only in case or normalisation. */
  readonly allowCaseCollisions?: boolean | undefined
}

/**
 * Verifies a signed manifest against a trust. A trust that wants several publishers is not satisfied: an old
 * manifest has one signature.
 *
 * Errors: `manifest_malformed`, `too_large`, `signer_untrusted`, `signature_invalid` (the file names a trusted key, under
 * which it does not hold), `algorithm_mismatch` (the file names an algorithm of another kind
 * than the key's), `key_revoked`, `key_expired`, `key_not_yet_valid`, `policy_denied`, `model_empty`,
 * `name_invalid`, `name_duplicate`, `name_collision`, `digest_malformed`.
 */
export async function verifyManifest(
  bytes: Uint8Array,
  trust: Trust,
  options: VerifyManifestOptions = {},
): Promise<VerifiedManifest> {
  const { now = Math.floor(Date.now() / 1000) } = options
  const signed = parseSignedManifest(bytes)
  const signer = await findSigner(signed, trust)
  const refused = refusal(signer, now)
  if (refused !== undefined) throw refused
  const { key, publisher } = signer
  if ((signed.unverified.algorithm === 'ed25519') !== (key.algorithm.family === 'eddsa')) {
    throw new SignetError(
      'algorithm_mismatch',
      `the manifest says ${signed.unverified.algorithm}, and the key is ${key.algorithm.name}`,
    )
  }
  if ((trust.threshold ?? 0) > 1) {
    throw new SignetError(
      'policy_denied',
      `1 of ${trust.threshold} publishers signed: a manifest of aumai-modelseal has one signature`,
    )
  }
  checkFiles(signed.manifest, options)
  const who = { keyId: key.id, algorithm: key.algorithm.name, publisher }
  return new VerifiedManifest(who, signed)
}

/** Options of {@link compareManifest}. */
export interface CompareManifestOptions extends Omit<CompareOptions, 'bundles'> {
  /** The manifest's own path in the tree, if it lies there; it can't hold its own digest. */
  readonly own?: string | undefined
}

/**
 * Holds a verified manifest against a tree. The old tool left nothing out: what lies in `.git` and was not
 * listed is `extra` too.
 *
 * A folder that was signed twice in place lists the first `signed_manifest.json`, which the second one
 * overwrote; the old tool fails on it ever after. Here `own` is reported as `ignored`.
 *
 * Errors: those of {@link compareTree}.
 */
export async function compareManifest(
  verified: VerifiedManifest,
  tree: FileTree,
  options: CompareManifestOptions = {},
): Promise<Comparison> {
  const { own, ...rest } = options
  const files = verified.manifest.files.filter(({ path }) => path !== own)
  const resources = files.map(({ path, size, digest }) => ({
    path,
    size,
    digest,
    algorithm: 'sha256' as const,
  }))
  const serialization = {
    method: 'files' as const,
    hashType: 'sha256' as const,
    allowSymlinks: false,
    ignorePaths: own === undefined ? [] : [own],
  }
  return await compareTree({ serialization, resources }, tree, { ...rest, noDefaultIgnores: true })
}

/**
 * The publishers of an old registry file, each with one key, valid from its `trusted_since` on (which the old
 * tool never looked at). The file is not signed: it is as trustworthy as the place it lies in.
 *
 * A publisher is called by its `name`, followed by its id where the name is empty or not the only one.
 *
 * Errors: `manifest_malformed`, `too_large`, `algorithm_unsupported`, `algorithm_mismatch`, and those of
 * `readPublicKeys`; `where` names the publisher.
 */
export async function importRegistry(bytes: Uint8Array): Promise<Publisher[]> {
  const entries = reading(() => {
    const json = parseJson(bytes, { what: 'registry', maxDepth: 8 })
    if (!Array.isArray(json)) throw malformed('the registry is not a list')
    return json.map((entry: JsonValue, i: number) => {
      const members = new Members(entry, `registry[${i}]`)
      const [id, name] = [members.text('publisher_id'), members.text('name').trim()]
      return { id, name, since: members.time('trusted_since'), pem: members.text('public_key') }
    })
  })
  if (new Set(entries.map(({ id }) => id)).size < entries.length) {
    throw malformed('a publisher stands in the registry twice')
  }
  const fold = (name: string) => name.normalize('NFC').toLowerCase()
  const sameName = Map.groupBy(entries, ({ name }) => fold(name))
  return await Promise.all(entries.map(async ({ id, name, since, pem }): Promise<Publisher> => {
    const alone = sameName.get(fold(name))!.length === 1
    const key = await registryKey(pem, id)
    return {
      name: name === '' ? id : alone ? name : `${name} (${id})`,
      members: [{ key, status: 'primary', notBefore: secondsOf(since) }],
      roots: [],
    }
  }))
}

async function registryKey(text: string, id: string): Promise<PublicKey> {
  const where = `publisher ${JSON.stringify(id.slice(0, 80))}`
  const pem = reading(() => fromUtf8(fromBase64(text, `the key of ${where}`)))
  const [key, ...more] = await readPublicKeys(pem).catch((cause) => {
    if (!isSignetError(cause)) throw cause
    throw new SignetError(cause.code, `${where}: ${cause.message}`, { where, cause })
  })
  if (more.length > 0) throw malformed(`${where} has more than one key`)
  if (signs(key!)) return key!
  throw new SignetError(
    'algorithm_mismatch',
    `${where}: aumai-modelseal has no ${key!.algorithm.name} signatures`,
    { where },
  )
}

/** Seconds since 1970, rounded up: a key is not believed too early. Time without a zone is taken as UTC. */
function secondsOf(time: string): number {
  const [, whole, fraction, zone] = /^(.{19})(\.\d{6})?(Z|[+-]\d\d:\d\d)?$/.exec(time)!
  const seconds = Date.parse(`${whole}${zone ?? 'Z'}`) / 1000
  return Math.max(0, fraction === undefined ? seconds : seconds + 1)
}

/** The first trusted signer under whose key the signature holds. */
async function findSigner(
  { manifest, signature, unverified }: SignedManifest,
  trust: Trust,
): Promise<TrustedSigner> {
  const candidates = trust.signers.filter(({ key }) => signs(key))
  const message = manifestBytes(manifest)
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', message))
  for (const signer of candidates) {
    if (await holds(signer.key, message, digest, signature)) return signer
  }
  // What the file says of its key decides nothing but which refusal this is.
  const named = candidates.some(({ key }) =>
    toBase64(utf8(toPublicPem(key))) === unverified.publicKey
  )
  if (named) {
    throw new SignetError('signature_invalid', 'the signature does not hold under the key it names')
  }
  throw new SignetError(
    'signer_untrusted',
    'the signature holds under no key that is trusted here',
    {
      remedy: "give the signer's public key (Ed25519 or ECDSA), or add it to your publishers",
    },
  )
}

/** Whether the old tool could sign with such a key. */
function signs({ algorithm: { family } }: PublicKey): boolean {
  return family === 'eddsa' || family === 'ecdsa'
}

async function holds(
  key: PublicKey,
  message: Bytes,
  digest: Bytes,
  signature: Bytes,
): Promise<boolean> {
  const { family, hash, signatureBytes } = key.algorithm
  try {
    if (family === 'eddsa') return await key.verify(message, signature)
    // The old tool takes SHA-256 on every curve. ECDSA sees a number in the digest (FIPS 186-5 §6.4.1):
    // leading zeros make a digest of the length that goes with the curve, and change nothing.
    const length = { 'SHA-256': 32, 'SHA-384': 48, 'SHA-512': 64 }[hash!]
    const bytes = owned(concat(new Uint8Array(length - digest.length), digest))
    return await key.verify({ mode: 'digest', bytes }, ecdsaFromDer(signature, signatureBytes!))
  } catch (error) {
    if (isSignetError(error, 'der_malformed', 'key_malformed')) return false
    throw error
  }
}

/** Checked before a name reaches any disk. */
function checkFiles({ files }: Manifest, options: VerifyManifestOptions): void {
  if (files.length === 0) throw new SignetError('model_empty', 'the manifest lists no file')
  for (const { path, digest } of files) {
    checkName(path)
    if (/^[0-9a-f]{64}$/.test(digest)) continue
    throw new SignetError(
      'digest_malformed',
      `the digest of ${JSON.stringify(path.slice(0, 200))} is not lower-case SHA-256`,
      { where: path },
    )
  }
  checkDistinct(files.map(({ path }) => path), options.allowCaseCollisions)
}
