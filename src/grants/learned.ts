/** Keys of issuers that came with their bundles. */
import type { JsonObject } from '../json.ts'
import { fromJwk, type PublicKey, publicKey } from '../keys/mod.ts'
import type { DeviceState } from './device_state.ts'
import type { TrustedIssuer } from './verify.ts'

/** Pinned issuers, each with the keys that its last bundle brought. Nobody becomes an issuer by a bundle. */
export async function withLearned(
  trusted: readonly TrustedIssuer[],
  learned: DeviceState['issuers'],
): Promise<readonly TrustedIssuer[]> {
  return await Promise.all(trusted.map(async ({ issuer, keys }) => {
    const more = learned.filter((one) => one.issuer === issuer).flatMap((one) => one.keys)
    return { issuer, keys: [...keys, ...await Promise.all(more.map(keyOfJwk))] }
  }))
}

async function keyOfJwk(jwk: JsonObject): Promise<PublicKey> {
  const { algorithm, publicKey: raw } = fromJwk(jwk)
  return await publicKey(algorithm, raw)
}
