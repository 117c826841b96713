/**
 * Keys in `cnf`: of a JWK, and back. The same holders turn up in one chain after the other, so the last keys read
 * are kept: checking a point of a curve and importing it costs more than a signature.
 */
import { fromJwk, type PublicKey, publicKey } from '../keys/mod.ts'
import { isSignetError, type SignetError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import { THUMBPRINT_URI } from './claims.ts'
import { malformed } from './sizes.ts'
import { valueKey } from './values.ts'

const MAX_KEPT = 512

/** Least recently used first. Public keys only, and nothing about whether anybody trusts them. */
const kept = new Map<string, Promise<PublicKey>>()

/** The public key of a JWK out of a token whose signature holds. Errors: `grant_malformed`. */
export function holderKey(jwk: JsonObject): Promise<PublicKey> {
  const name = nameOf(jwk)
  if (name === undefined) return Promise.reject(noKey())
  const known = kept.get(name)
  // One that turns out to be no key is not kept for long, but who asks meanwhile gets the same answer.
  const key = known ?? readKey(jwk).catch((error) => {
    kept.delete(name)
    throw error
  })
  kept.delete(name)
  kept.set(name, key)
  if (kept.size > MAX_KEPT) {
    for (const oldest of kept.keys()) {
      kept.delete(oldest)
      break
    }
  }
  return key
}

async function readKey(jwk: JsonObject): Promise<PublicKey> {
  try {
    const { algorithm, publicKey: raw } = fromJwk(jwk)
    return await publicKey(algorithm, raw)
  } catch (error) {
    if (!isSignetError(error)) throw error
    throw noKey()
  }
}

function noKey(): SignetError {
  return malformed('the holder key is no public key of a known kind', 'cnf.jwk')
}

/** One text per JWK. */
function nameOf(jwk: JsonObject): string | undefined {
  const { kty, crv, x } = jwk
  const isPlain = kty === 'OKP' && crv === 'Ed25519' && typeof x === 'string' &&
    Object.keys(jwk).length === 3
  // Canonical JSON begins with a brace, so no other JWK has this name.
  return isPlain ? `Ed25519 ${x}` : valueKey(jwk)
}

/**
 * A public key as `cnf.jwk`: what identifies it, as the draft's examples have it. RSA keeps `alg`, which says what
 * its key is for; the others say it by their curve, and the name `Ed25519` in `alg` is unknown to many readers.
 */
export function holderJwk({ jwk }: PublicKey): JsonObject {
  if (jwk.kty !== 'OKP' && jwk.kty !== 'EC') return { ...jwk }
  const { alg: _, ...rest } = jwk
  return rest
}

/** How a derived token names the key that signed it (RFC 9278). */
export function thumbprintUri(key: PublicKey): string {
  return THUMBPRINT_URI + key.id
}
