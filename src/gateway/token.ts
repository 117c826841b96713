/**
 * `POST /oauth/token`: a code becomes a grant and its bundle. The key that will hold the grant (`req_cnf`, RFC 9201,
 * as AAT asks for it) signs the request, so that nobody has a grant bound to a key that they do not have.
 *
 * A code counts once. When the answer is lost, the device finds its bundle at `GET /bundles`, which its key alone
 * opens; a code that comes again, with the right verifier and another key, was stolen: its grant ends (RFC 6749 §4.1.2).
 */
import { SignetError } from '../errors.ts'
import type { PublicKey } from '../keys/mod.ts'
import { agentToGrant } from './authorize.ts'
import { field, type Form, parseForm, readBody, required, requireType } from './body.ts'
import { exchange } from './delegate.ts'
import { confirmationKey } from './device_keys.ts'
import { digestOf } from './ids.ts'
import { newBundle, newGrant, tokenAnswer } from './issue.ts'
import type { RequestRecord } from './records.ts'
import type { Noted } from './router.ts'
import { revokeGrant } from './standing.ts'
import { retrying, type Stored } from './store.ts'
import { askedOf, type Routes, type World } from './world.ts'

type GrantType = (world: World, form: Form, holder: PublicKey, noted: Noted) => Promise<Response>

const GRANT_TYPES: Readonly<Record<string, GrantType>> = {
  authorization_code: redeem,
  'urn:ietf:params:oauth:grant-type:token-exchange': exchange,
}

/** `POST /oauth/token`. */
export const tokenRoutes: Routes = (app, world) => {
  app.post('/oauth/token', async (c) => {
    const request = c.req.raw
    world.count(request, 'start')
    requireType(request.headers, 'application/x-www-form-urlencoded')
    const { method, headers } = request
    const body = await readBody(request)
    const form = parseForm(body)
    const type = required(form, 'grant_type')
    const work = Object.hasOwn(GRANT_TYPES, type) ? GRANT_TYPES[type] : undefined
    if (work === undefined) {
      throw new SignetError('grant_type_refused', 'this grant_type is not supported')
    }
    const signer = await signerOf(form)
    await world.verifiedParts(
      { method, headers, body, url: world.urlOf(request) },
      (id) => Promise.resolve(id === signer.id ? signer : undefined),
    )
    return await work(world, form, signer, c.env)
  })
}

/** The key that must have signed: the one that will hold the grant, or that holds the one to be narrowed. */
async function signerOf(form: Form): Promise<PublicKey> {
  const name = field(form, 'holder_cnf') === undefined ? 'req_cnf' : 'holder_cnf'
  return await confirmationKey(form, name)
}

async function redeem(world: World, form: Form, holder: PublicKey): Promise<Response> {
  return await retrying(async () => {
    const stored = await codeOf(world, form, holder)
    const { record, version } = stored
    if (record.status !== 'approved') return await reused(world, stored, holder)
    if (!((record.codeExpires ?? 0) > world.now())) throw refused()
    const { agent, keep } = await agentToGrant(world, record.agent)
    const admitted = await world.admit(record.principal!, agent.tenant)
    const origin = { agent: agent.id, principal: record.principal!, request: record.id }
    const grant = await newGrant(world, origin, askedOf(record), holder)
    const bundle = await newBundle(world, grant, holder)
    await world.store.commit([
      keep,
      ...admitted,
      { put: 'request', record: { ...record, status: 'redeemed', grant: grant.id }, version },
      { put: 'grant', record: grant, version: 0 },
      { put: 'bundle', record: bundle, version: 0 },
    ])
    return tokenAnswer(world, grant, bundle)
  })
}

/** The request of a code, when client, redirect URI, verifier and key are those it was made for. */
async function codeOf(
  world: World,
  form: Form,
  holder: PublicKey,
): Promise<Stored<RequestRecord>> {
  const [code, client] = [required(form, 'code'), required(form, 'client_id')]
  const [uri, verifier] = [required(form, 'redirect_uri'), required(form, 'code_verifier')]
  const [stored] = await world.store.records.list('request', {
    key: `code:${await digestOf(code)}`,
  })
  // One answer for all, so that nobody learns which part was right. RFC 7636 §4.1 for the verifier.
  if (
    stored === undefined || stored.record.extra?.dialect !== undefined ||
    !/^[A-Za-z0-9._~-]{43,128}$/.test(verifier) ||
    stored.record.agent !== client || stored.record.redirectUri !== uri ||
    await digestOf(verifier) !== stored.record.codeChallenge ||
    (stored.record.holder ?? holder.id) !== holder.id
  ) throw refused()
  return stored
}

async function reused(
  world: World,
  { record }: Stored<RequestRecord>,
  holder: PublicKey,
): Promise<never> {
  const grant = (await world.store.records.get('grant', record.grant ?? ''))?.record
  if (grant !== undefined && grant.holder !== holder.id) {
    await revokeGrant(world, grant.id, 'its code was used by two')
  }
  throw refused()
}

function refused(): SignetError {
  return new SignetError(
    'code_refused',
    'the code is not good: unknown, used, too old, or not yours',
  )
}
