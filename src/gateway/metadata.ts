/** What the server says of itself: keys (RFC 7517) and metadata (RFC 8414). */
import { json, type Routes } from './world.ts'

/** Public and the same for all, so that anybody may read and keep it for a while. */
const PUBLIC = { 'cache-control': 'public, max-age=300', 'access-control-allow-origin': '*' }

/** `/.well-known/jwks.json`, `/.well-known/oauth-authorization-server`, `/health`. */
export const metadataRoutes: Routes = (app, world) => {
  const { issuer } = world
  const keys = world.published.map(({ jwk, id }) => ({
    ...jwk,
    alg: joseName(jwk.alg),
    kid: id,
    use: 'sig',
  }))
  const metadata = {
    issuer,
    jwks_uri: `${issuer}/.well-known/jwks.json`,
    pushed_authorization_request_endpoint: `${issuer}/oauth/par`,
    require_pushed_authorization_requests: true,
    authorization_endpoint: `${issuer}/oauth/authorize`,
    authorization_response_iss_parameter_supported: true,
    token_endpoint: `${issuer}/oauth/token`,
    token_endpoint_auth_methods_supported: ['none'],
    introspection_endpoint: `${issuer}/oauth/introspect`,
    revocation_endpoint: `${issuer}/oauth/revoke`,
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: [
      'authorization_code',
      'urn:ietf:params:oauth:grant-type:token-exchange',
    ],
    code_challenge_methods_supported: ['S256'],
    authorization_details_types_supported: ['attenuating_agent_token'],
    aat_issuer: true,
  }
  app.get('/.well-known/jwks.json', (c) => {
    world.count(c.req.raw, 'read')
    return json({ keys }, 200, PUBLIC)
  })
  app.get('/.well-known/oauth-authorization-server', (c) => {
    world.count(c.req.raw, 'read')
    return json(metadata, 200, PUBLIC)
  })
  app.get('/health', (c) => {
    world.count(c.req.raw, 'read')
    return json({ status: 'ok' })
  })
}

/** Tokens say `EdDSA` (see JWS); so do the keys that verify them. */
function joseName(alg: string | undefined): string | undefined {
  return alg === 'Ed25519' ? 'EdDSA' : alg
}
