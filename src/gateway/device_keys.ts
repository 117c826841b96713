/** Keys of devices, as requests bring them. */
import { SignetError } from '../errors.ts'
import { isObject, type JsonObject, parseJson } from '../json.ts'
import { fromJwk, type PublicKey, publicKey } from '../keys/mod.ts'
import { type Form, required } from './body.ts'

/** A device's key of its JWK. Errors: `jwk_malformed`, `algorithm_unsupported`, `key_exposed`, `key_usage`. */
export async function deviceKey(jwk: JsonObject): Promise<PublicKey> {
  const { algorithm, publicKey: raw, privateKey } = fromJwk(jwk)
  if (privateKey !== undefined) {
    throw new SignetError('key_exposed', 'the private half of the key was sent', {
      remedy: 'throw the key away, make a new one, and send its public half',
    })
  }
  if (algorithm.name !== 'Ed25519') {
    throw new SignetError('key_usage', 'the key of a device is Ed25519')
  }
  return await publicKey(algorithm, raw)
}

/** A key of a confirmation object (RFC 7800 §3.1) in a form. Errors: `request_malformed`, those of {@link deviceKey}. */
export async function confirmationKey(form: Form, name: string): Promise<PublicKey> {
  const cnf = parseJson(required(form, name), { what: name, maxDepth: 4, maxBytes: 8192 })
  if (isObject(cnf) && isObject(cnf.jwk)) return await deviceKey(cnf.jwk)
  throw new SignetError('request_malformed', `${name} holds no jwk`, { where: name })
}
