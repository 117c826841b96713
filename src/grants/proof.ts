/**
 * Proof of possession (I6; draft §5 and §7 step 7): for each call the leaf's holder signs the tool, the arguments and
 * a fresh name. The payload is RFC 8785 as a whole.
 *
 * A proof means something only under a verified grant, so it is verified with one in hand. Its name is remembered after
 * its signature held, never before: otherwise anybody could use up the names of others.
 */
import { equalBytes } from '../bytes.ts'
import { parseJws, signJws, verifyJws } from '../envelope/mod.ts'
import { isSignetError, SignetError } from '../errors.ts'
import {
  canonicalBytes,
  canonicalize,
  isObject,
  type JsonObject,
  type JsonValue,
  parseJson,
} from '../json.ts'
import type { Key, SignOptions } from '../keys/mod.ts'
import { type JudgedCall, type ReadArguments, readArguments } from './arguments.ts'
import { claimsJson, type GrantChain, linkHash, readTokens } from './chain.ts'
import { parseClaims } from './claims.ts'
import { type ConstraintExtensions, NO_EXTENSIONS } from './constraints.ts'
import type { ReplayStore } from './replay.ts'
import { isName } from './sizes.ts'
import type { VerifiedGrant } from './verified.ts'

/** `typ` of a proof. */
export const POP_TYPE = 'aat-pop+jwt'
/** Seconds that a proof's time may be off, to both sides. */
export const POP_WINDOW = 30

/** A call that is proved. */
export interface ProvedCall {
  /** The tool. */
  readonly tool: string
  /** Its arguments, which are JSON. */
  readonly args: JsonObject
  /** Who is to accept it. */
  readonly audience?: string | undefined
}

/** Options of {@link makePop}. */
export interface MakePopOptions extends SignOptions {
  /** The time, in seconds. Default: the clock. */
  readonly now?: number | undefined
  /** A name that was never used. Default: a random one. */
  readonly jti?: string | undefined
  /** Registered constraint types that the grant may hold. */
  readonly extensions?: ConstraintExtensions | undefined
}

/**
 * Signs a proof for one call under the last token of a chain (which is NOT verified here). `key` is the holder's.
 * Errors: those of reading the chain, `grant_unlinked` (another key), those of RFC 8785, the key's.
 */
export async function makePop(
  chain: GrantChain,
  key: Key,
  call: ProvedCall,
  options: MakePopOptions = {},
): Promise<string> {
  const { now = Date.now() / 1000, jti = crypto.randomUUID(), extensions = NO_EXTENSIONS } = options
  const token = readTokens(chain).at(-1)!
  const leaf = parseClaims(claimsJson(token.payload), extensions)
  const claims = {
    jti,
    iat: Math.floor(now),
    aat_id: leaf.jti,
    aat_hash: linkHash(token),
    aat_tool: call.tool,
    ...call.audience === undefined ? {} : { aat_aud: call.audience },
    hta: call.args,
  }
  return await signJws(canonicalBytes(claims), key, { typ: POP_TYPE, signal: options.signal })
}

/** What {@link verifyPop} demands. */
export interface VerifyPopOptions {
  /** Where used proofs are remembered. Without it a proof counts again within its window. */
  readonly replay: ReplayStore | undefined
  /** Who is asking: a proof with an audience must name it, and if this is given, it must have one. */
  readonly audience?: string | undefined
  /** The time, in seconds. Default: the clock. */
  readonly now?: number | undefined
  /** Seconds that the proof's time may be off. Default 30. */
  readonly window?: number | undefined
}

/** A proof that holds and was not used before. */
export interface ProvedPossession {
  /** Its name. */
  readonly jti: string
  /** When it was made, in seconds. */
  readonly issuedAt: number
}

/**
 * Verifies a proof for a call under a verified grant, and uses it up.
 *
 * Errors: `token_malformed`, `token_type`, `token_critical`, `algorithm_mismatch`, `signature_invalid`,
 * `pop_malformed`, `pop_mismatch` (another grant, tool, audience, or other arguments; in `where`), `pop_stale`,
 * `pop_replayed`, `replay_store_full`.
 *
 * NOT verified: that the grant covers the call.
 */
export async function verifyPop(
  pop: string,
  grant: VerifiedGrant,
  call: { readonly tool: string; readonly args: unknown },
  options: VerifyPopOptions,
): Promise<ProvedPossession> {
  const judged = { tool: call.tool, args: provableArguments(call.args) }
  const proof = await readPop(pop, grant, judged, options)
  await proof.use()
  return { jti: proof.jti, issuedAt: proof.issuedAt }
}

/** A proof that holds; `use` remembers it. */
export interface HeldProof extends ProvedPossession {
  /** Throws `pop_replayed` if it was used before. */
  use(): Promise<void>
}

/** As {@link verifyPop}, without using it up yet. */
export async function readPop(
  pop: string,
  grant: VerifiedGrant,
  call: JudgedCall,
  options: VerifyPopOptions,
): Promise<HeldProof> {
  const { now = Date.now() / 1000, window = POP_WINDOW, replay, audience } = options
  const { payload } = await verifyJws(parseJws(pop), grant.holder, { typ: POP_TYPE })
  const claims = parsePop(payload)
  const leaf = grant.links.at(-1)!
  if (claims.aat_id !== leaf.jti) throw mismatch('another grant', 'aat_id')
  // The draft names the leaf by a `jti` that its signer chose, who may have chosen it twice. The hash is ours: it binds
  // the proof to this leaf, and through it to the chain. Proofs by other programs do not have it.
  if (claims.aat_hash !== undefined && claims.aat_hash !== leaf.id) {
    throw mismatch('another grant', 'aat_hash')
  }
  if (claims.aat_tool !== call.tool) throw mismatch('another tool', 'aat_tool')
  // One that is bound to a place is good in no other, whether or not this place asks for it.
  if (claims.aat_aud !== audience) throw mismatch('another audience', 'aat_aud')
  if (canonicalize(claims.hta) !== call.args.text) {
    throw mismatch('other arguments', 'hta')
  }
  if (!(Math.abs(now - claims.iat) <= window)) {
    throw new SignetError('pop_stale', `the proof is more than ${window} s off`, {
      where: 'iat',
      remedy: 'make a fresh proof for each call, and compare the clocks',
    })
  }
  return {
    jti: claims.jti,
    issuedAt: claims.iat,
    async use() {
      // The holder keeps its own names apart; another holder's are another's.
      const name = `${grant.holder.id} ${claims.jti}`
      if (replay === undefined || await replay.insert(name, claims.iat + window) === true) return
      throw new SignetError('pop_replayed', 'the proof was used before', { where: 'jti' })
    },
  }
}

interface PopClaims {
  readonly jti: string
  readonly iat: number
  readonly aat_id: string
  readonly aat_hash: JsonValue | undefined
  readonly aat_tool: string
  readonly aat_aud: string | undefined
  readonly hta: JsonObject
}

function parsePop(payload: Uint8Array): PopClaims {
  const json = popJson(payload)
  const { jti, iat, aat_id, aat_hash, aat_tool, aat_aud, hta } = json
  if (!isName(jti)) throw malformedPop('no name', 'jti')
  if (typeof iat !== 'number' || !Number.isSafeInteger(iat) || iat < 0) {
    throw malformedPop('no time in whole seconds', 'iat')
  }
  if (typeof aat_id !== 'string') throw malformedPop('no grant', 'aat_id')
  if (typeof aat_tool !== 'string') throw malformedPop('no tool', 'aat_tool')
  if (aat_aud !== undefined && typeof aat_aud !== 'string') {
    throw malformedPop('the audience is no text', 'aat_aud')
  }
  if (!isObject(hta)) throw malformedPop('the arguments are not an object', 'hta')
  return { jti, iat, aat_id, aat_hash, aat_tool, aat_aud, hta }
}

function popJson(payload: Uint8Array): JsonObject {
  try {
    const json = parseJson(payload, { what: 'proof' })
    if (isObject(json) && equalBytes(canonicalBytes(json), payload)) return json
  } catch (error) {
    if (!isSignetError(error)) throw error
  }
  throw malformedPop('the claims are not an object in RFC 8785 form')
}

/** The arguments as proofs and approvals commit to them. Errors: `pop_mismatch` (not a JSON object). */
export function provableArguments(args: unknown): ReadArguments {
  const read = readArguments(args)
  if (read === undefined) throw mismatch('arguments that are not a JSON object', 'hta')
  return read
}

function malformedPop(why: string, where?: string): SignetError {
  return new SignetError(
    'pop_malformed',
    `proof of possession: ${why}`,
    where === undefined ? {} : { where },
  )
}

function mismatch(why: string, where: string): SignetError {
  return new SignetError('pop_mismatch', `the proof of possession is for ${why}`, { where })
}
