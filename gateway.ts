/**
 * The gateway as a library: `gateway(options)` is one function from `Request` to `Response`, for any server.
 *
 * ```ts
 * import { ALGORITHMS, generateKey } from '@signet/signet'
 * import { gateway, memoryGatewayStore } from '@signet/signet/gateway'
 *
 * const key = await generateKey(ALGORITHMS['Ed25519'])
 * const answer = gateway({ issuer: 'https://gateway.example', key, store: memoryGatewayStore() })
 *
 * const response = await answer(new Request('https://gateway.example/.well-known/jwks.json'))
 * const { keys } = await response.json()
 * console.assert(keys[0].kid === key.publicKey.id)
 * ```
 *
 * @module
 */
export * from './src/gateway/mod.ts'
export type { NonceStore, ReceivedRequest, VerifiedRequest } from './src/envelope/mod.ts'
export type { ErrorCode, ErrorKind, SignetError, SignetErrorOptions } from './src/errors.ts'
export type { JsonObject, JsonValue } from './src/json.ts'
export type { Key, PublicKey } from './src/keys/mod.ts'
