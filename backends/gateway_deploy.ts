/**
 * The gateway for Deno Deploy, or `deno serve --unstable-kv`: everything in Deno KV, set up by the environment.
 *
 * - `SIGNET_ISSUER`: what the world calls the server by, `https://gateway.example`
 * - `SIGNET_ISSUER_KEY`: the Ed25519 key that signs, a private JWK. A secret
 * - `SIGNET_OPERATOR_KEY`: the operator's key, `sgop_` and 43 characters of base64url, of 32 random bytes. A secret
 * - `SIGNET_PUBLISH`: a JWKS of further keys to publish, if any
 * - `SIGNET_POLICY`: a policy as JSON (see `parseGrantPolicy`), if any; without one a person is asked for everything
 *
 * Without one of the first three, with one that cannot be read, or without Deno KV every answer is 503: nothing begins
 * half set up.
 *
 * @module
 */
import process from 'node:process'
import { SignetError } from '../src/errors.ts'
import { type Gateway, gateway, keepOperatorKey, parseGrantPolicy } from '../src/gateway/mod.ts'
import { isObject, parseJson } from '../src/json.ts'
import { fromJwk, importKey, type Key, type PublicKey, readPublicKeys } from '../src/keys/mod.ts'
import { type KvDatabase, kvGatewayStore } from './gateway_kv.ts'

let made: Promise<Gateway> | undefined

/** What `deno serve` calls. */
export interface Entry {
  /** Answers requests. `info` is what the platform knows of them. */
  fetch(
    request: Request,
    info?: { readonly remoteAddr?: { readonly hostname?: string } },
  ): Promise<Response>
}

async function answerOf(
  request: Request,
  info?: { readonly remoteAddr?: { readonly hostname?: string } },
): Promise<Response> {
  made ??= setUp()
  let answer: Gateway
  try {
    answer = await made
  } catch (error) {
    made = undefined // the next request tries again
    console.error(`signet: ${(error as Error).message}`)
    return new Response('not set up\n', { status: 503 })
  }
  return await answer(request, { client: info?.remoteAddr?.hostname })
}

/** The gateway of the environment. */
const entry: Entry = { fetch: answerOf }
export default entry

async function setUp(): Promise<Gateway> {
  const { openKv } = globalThis.Deno as { openKv?: () => Promise<KvDatabase> } | undefined ?? {}
  if (openKv === undefined) throw missing('there is no Deno KV here', 'use --unstable-kv')
  const key = await issuerKey(setting('SIGNET_ISSUER_KEY'))
  const operator = setting('SIGNET_OPERATOR_KEY')
  const issuer = setting('SIGNET_ISSUER')
  const { SIGNET_PUBLISH: more, SIGNET_POLICY: rules } = process.env
  // One that is empty is none that could be read: rules that were lost must not go unnoticed.
  const policy = rules === undefined ? undefined : parseGrantPolicy(rules, 'SIGNET_POLICY')
  const published: PublicKey[] = more === undefined ? [] : [...await readPublicKeys(more)]
  const store = kvGatewayStore(await openKv())
  await keepOperatorKey(store, operator, 'operator', Math.floor(Date.now() / 1000))
  return gateway({ issuer, key, published, store, decide: policy?.decide })
}

async function issuerKey(text: string): Promise<Key> {
  const jwk = parseJson(text, { what: 'SIGNET_ISSUER_KEY', maxBytes: 8192 })
  const { algorithm, publicKey, privateKey } = fromJwk(isObject(jwk) ? jwk : {})
  if (privateKey === undefined) {
    throw missing('SIGNET_ISSUER_KEY is not private', 'give a private JWK')
  }
  return await importKey(algorithm, { publicKey, privateKey })
}

function setting(name: string): string {
  const value = process.env[name]
  if (value !== undefined && value !== '') return value
  throw missing(`${name} is not set`, `set ${name}`)
}

function missing(what: string, remedy: string): SignetError {
  return new SignetError('usage_invalid', what, { remedy })
}
