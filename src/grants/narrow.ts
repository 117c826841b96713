/**
 * Passing a grant on: the holder of the last token signs a narrower one, alone and offline (draft §6). The same
 * checks that a verifier makes are made before anything is signed.
 */
import { SignetError } from '../errors.ts'
import type { Key } from '../keys/mod.ts'
import { portableSha256 } from '../log/mod.ts'
import {
  checkDistinct,
  checkSizes,
  claimsJson,
  type GrantChain,
  linkHash,
  readTokens,
} from './chain.ts'
import { capabilityOf, parseClaims } from './claims.ts'
import { capabilityToJson, type ToolsJson } from './capability.ts'
import { NO_EXTENSIONS } from './constraints.ts'
import { holderKey, thumbprintUri } from './holder_key.ts'
import { checkChild, checkTimes, timeBounds } from './invariants.ts'
import { type GrantTerms, type IssueOptions, signToken, termsToClaims } from './issue.ts'

/** Terms of a child. What is left out stays as in the parent, except limits and status, which are the parent's own. */
export interface NarrowTerms extends GrantTerms {
  /** Seconds until it expires, if that is before its parent does. Default: with its parent. */
  readonly lifetime?: number | undefined
  /** How deep the chain may become. Default: as deep as the parent lets it. */
  readonly maxDepth?: number | undefined
}

/**
 * A longer chain, whose last token allows no more than the one before it. `key` is the holder's.
 *
 * The chain is NOT verified here: a child of a chain that does not hold is a chain that does not hold.
 *
 * Errors: `grant_unlinked` (the key is not the holder's), `grant_depth` (the chain may not become deeper),
 * `grant_lifetime`, `grant_widened`, `grant_expired`, and those of `issueGrant`.
 */
export async function narrowGrant(
  chain: GrantChain,
  key: Key,
  terms: NarrowTerms,
  options: IssueOptions = {},
): Promise<GrantChain> {
  const { extensions = NO_EXTENSIONS } = options
  const tokens = readTokens(chain)
  const parents = tokens.map(({ payload }) => parseClaims(claimsJson(payload), extensions))
  const [token, above] = [tokens.at(-1)!, parents.at(-1)!]
  const holder = await holderKey(above.holder)
  if (key.publicKey.id !== holder.id) {
    throw new SignetError('grant_unlinked', 'the key is not that of the holder of the grant', {
      remedy: `it was given to the key ${holder.id}`,
    })
  }
  const parent = { claims: above, holder: holder.id, hash: linkHash(token, portableSha256) }
  const now = options.now ?? Date.now() / 1000
  checkTimes(above, timeBounds({ ...options, now }))
  const iat = Math.max(Math.floor(now), above.iat)
  const claims = termsToClaims({
    ...terms,
    tools: toolsOf(terms, above),
    audience: terms.audience ?? above.audience,
  }, {
    iss: thumbprintUri(key.publicKey),
    iat,
    exp: terms.lifetime === undefined ? above.exp : Math.min(above.exp, iat + terms.lifetime),
    del_depth: above.depth + 1,
    del_max_depth: terms.maxDepth ?? above.maxDepth,
    par_hash: parent.hash,
  })
  const child = await signToken(key, claims, { ...options, now }, (read) => {
    checkChild(parent, read)
    checkDistinct([...parents, read].map(({ jti }) => jti))
  })
  const longer = [...chain, child.token]
  checkSizes(longer)
  return longer
}

/** All of the parent's tools, when neither tools nor scopes are chosen. */
function toolsOf(terms: NarrowTerms, above: Parameters<typeof capabilityOf>[0]): ToolsJson {
  if (terms.tools !== undefined) return terms.tools
  return terms.scopes === undefined ? capabilityToJson(capabilityOf(above)) : {}
}
