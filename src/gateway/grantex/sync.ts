/**
 * `POST /v1/audit/offline-sync`, for both dialects. What was stored is what came, byte for byte; an upload that
 * was stored before is taken again; entries under any audit key that the bundle ever had count. Only what breaks the
 * chain is refused, and then all that stood before it is kept.
 */
import { fromUtf8, utf8 } from '../../bytes.ts'
import { isSignetError } from '../../errors.ts'
import {
  type EntryNote,
  grantexGenesis,
  type GrantexUpload,
  hashHolds,
  judgeGrantexUpload,
  parseGrantexUpload,
  type StoredChain,
  type UploadedEntry,
  uploadedEntry,
} from '../../interop/grantex/mod.ts'
import type { JsonObject } from '../../json.ts'
import { fromJwk, type PublicKey, publicKey } from '../../keys/mod.ts'
import { digestOf } from '../ids.ts'
import type { BundleRecord } from '../records.ts'
import { bundleStanding } from '../standing.ts'
import { type Change, type GatewayStore, retrying } from '../store.ts'
import { didOf } from './authority.ts'
import { bundleExtra, bundleOf, type ChainExtra, logName, MAX_CHAINS } from './bundle_record.ts'
import { renew } from './bundles.ts'
import { type Answer, badRequest, type Call, isConflict, iso, Refusal } from './call.ts'
import { told } from './events.ts'

const MAX_FINDINGS = 100
const START: StoredChain = { dialect: undefined, seq: 0, hash: undefined }

/** What came of an upload. */
interface Outcome {
  readonly bundle: BundleRecord
  /** Entries taken, those that were here already too. */
  readonly accepted: number
  readonly notes: readonly EntryNote[]
  readonly fault: (EntryNote & { readonly isConflict: boolean }) | undefined
  readonly log: 'consistent' | 'replaced' | 'forked'
}

/** Takes an upload. */
export async function syncOffline(call: Call): Promise<Answer> {
  const upload = readUpload(call.body)
  const outcome = await retrying(() => take(call, upload))
  const { accepted, notes, fault, log, bundle } = outcome
  if (fault !== undefined) {
    await report(call, bundle, fault, upload)
    throw new Refusal(
      fault.isConflict ? 409 : 400,
      fault.isConflict ? 'AUDIT_CHAIN_CONFLICT' : 'INVALID_AUDIT_ENTRIES',
      `entry ${fault.seq}: ${fault.message}`,
      {
        accepted,
        rejected: upload.entries.length - accepted,
        errors: [{ seq: fault.seq, code: fault.code, message: fault.message }, ...plain(notes)],
      },
    )
  }
  if (log === 'replaced') await report(call, bundle, { code: 'LOG_REPLACED', seq: 1 }, upload)
  const standing = await bundleStanding(call.dialect.world, bundle)
  const isOver = standing.state !== 'active'
  const isRevoked = isOver && standing.reason !== 'expired'
  return {
    status: 200,
    body: {
      accepted,
      rejected: 0,
      // The documents know these two; that a time is over stands in `reason`.
      revocationStatus: isRevoked ? 'revoked' : 'active',
      revokedAt: isRevoked && standing.at !== undefined ? iso(standing.at) : null,
      ...(isOver ? { reason: standing.reason } : {}),
      errors: plain(notes),
      log,
      newBundle: isOver ? null : await renewed(call, bundle, upload),
    },
  }
}

const plain = (notes: readonly EntryNote[]): JsonObject[] =>
  notes.map(({ seq, code, message }) => ({ seq, code, message }))

function readUpload(body: Uint8Array): GrantexUpload {
  try {
    return parseGrantexUpload(body)
  } catch (error) {
    if (!isSignetError(error)) throw error
    if (error.code === 'too_large') throw new Refusal(413, 'PAYLOAD_TOO_LARGE', error.message)
    throw badRequest(error.message)
  }
}

async function take(call: Call, { bundleId, entries }: GrantexUpload): Promise<Outcome> {
  const { dialect } = call
  const { store, now } = dialect.world
  const { record: bundle, version } = await bundleOf(call, bundleId)
  const extra = bundleExtra(bundle)
  const seen = (chains: readonly ChainExtra[]): Change => ({
    put: 'bundle',
    record: {
      ...bundle,
      seenAt: now(),
      extra: { ...extra, chains, lastSyncAt: now() } as unknown as JsonObject,
    },
    version,
  })
  const [first] = entries
  if (first === undefined) {
    await store.commit([seen(extra.chains)])
    return { bundle, accepted: 0, notes: [], fault: undefined, log: 'consistent' }
  }
  const place = await placeOf(store, bundle.id, extra.chains, first)
  if ('fault' in place) return { bundle, accepted: 0, notes: [], fault: place.fault, log: 'forked' }
  const chain: StoredChain = extra.chains[place.chain] ?? START
  const known = await skipKnown(store, logName(bundle.id, place.chain), chain, entries)
  if (known.fault !== undefined) {
    return { bundle, accepted: known.count, notes: [], fault: known.fault, log: 'forked' }
  }
  const standing = await bundleStanding(dialect.world, bundle)
  const isRevoked = standing.state !== 'active' && standing.reason !== 'expired'
  const judged = await judgeGrantexUpload(entries.slice(known.count), chain, {
    keys: await keysOf(bundle),
    grant: bundle.grant,
    agent: didOf(bundle.agent),
    scopes: extra.scopes,
    now: now() * 1000,
    revokedAt: isRevoked && standing.at !== undefined ? standing.at * 1000 : undefined,
  })
  if (judged.accepted.length > 0) {
    const { dialect: kind, seq, hash, time } = judged.chain
    const chains = [...extra.chains]
    chains[place.chain] = { dialect: kind!, seq, hash: hash!, time: time! }
    await store.commit([
      {
        append: logName(bundle.id, place.chain),
        size: chain.seq,
        entries: judged.accepted.map(({ text, notes }) => ({
          bytes: utf8(text),
          code: notes.length === 0 ? undefined : notes.map(({ code }) => code).join(','),
          at: now(),
        })),
      },
      seen(chains),
      ...await told(dialect, call.tenant, [[
        'consent_bundle.synced',
        { bundleId: bundle.id, accepted: judged.accepted.length },
      ]]),
    ])
  } else if (judged.fault === undefined) await store.commit([seen(extra.chains)])
  return {
    bundle,
    accepted: known.count + judged.accepted.length,
    notes: judged.accepted.flatMap(({ notes }) => notes),
    fault: judged.fault && {
      ...judged.fault,
      isConflict: known.count + judged.accepted.length === 0 && chain.seq > 0 &&
        ['SEQ_GAP', 'BROKEN_CHAIN'].includes(judged.fault.code),
    },
    log: place.chain > 0 && chain.seq === 0 ? 'replaced' : 'consistent',
  }
}

type Place = { readonly chain: number } | { readonly fault: Outcome['fault'] }

/** The chain that an upload goes on or repeats: by the hashes, the newest first. */
async function placeOf(
  store: GatewayStore,
  bundle: string,
  chains: readonly ChainExtra[],
  first: UploadedEntry,
): Promise<Place> {
  let isForked = false
  for (let k = chains.length - 1; k >= 0; k--) {
    const chain = chains[k]!
    if (chain.dialect !== first.dialect || first.seq < 1 || first.seq > chain.seq + 1) continue
    if (first.seq === chain.seq + 1) {
      if (first.previous === chain.hash) return { chain: k }
      continue
    }
    const [stored] = await store.logs.entries(logName(bundle, k), first.seq - 1, 1)
    const known = uploadedEntry(fromUtf8(stored!.bytes))
    if (known.hash === first.hash) return { chain: k }
    isForked ||= first.seq > 1 && known.previous === first.previous
  }
  const begins = first.seq === 1 && first.previous === grantexGenesis(first.dialect)
  if (begins && chains.length < MAX_CHAINS) return { chain: chains.length }
  if (begins || isForked) {
    const message = 'another entry of this number is known'
    return { fault: { seq: first.seq, code: 'DUPLICATE_SEQ', message, isConflict: true } }
  }
  return { chain: Math.max(0, chains.length - 1) } // the judge says what is wrong
}

/** How many entries at the head of an upload are stored already, and whether one of them is another than then. */
async function skipKnown(
  store: GatewayStore,
  log: string,
  chain: StoredChain,
  entries: readonly UploadedEntry[],
): Promise<{ readonly count: number; readonly fault?: NonNullable<Outcome['fault']> }> {
  const from = entries[0]!.seq
  if (from < 1 || from > chain.seq) return { count: 0 }
  const stored = await store.logs.entries(
    log,
    from - 1,
    Math.min(entries.length, chain.seq - from + 1),
  )
  for (const [i, { bytes }] of stored.entries()) {
    const entry = entries[i]!
    const text = fromUtf8(bytes)
    if (text === entry.text) continue
    const known = uploadedEntry(text)
    const isSame = known.hash === entry.hash && known.seq === entry.seq && await hashHolds(entry)
    if (isSame) continue
    const fault = entry.seq !== from + i
      ? { code: 'SEQ_GAP', message: `expected seq ${from + i}`, isConflict: false }
      : known.hash === entry.hash
      ? { code: 'INVALID_HASH', message: 'hash is not that of the content', isConflict: false }
      : {
        code: 'DUPLICATE_SEQ',
        message: 'another entry of this number is known',
        isConflict: true,
      }
    return { count: i, fault: { seq: entry.seq, ...fault } }
  }
  return { count: stored.length }
}

/** All audit keys of a bundle, the newest first. */
async function keysOf(bundle: BundleRecord): Promise<PublicKey[]> {
  return await Promise.all(
    bundleExtra(bundle).auditKeys.toReversed().map(async (jwk) => {
      const found = fromJwk(jwk)
      return await publicKey(found.algorithm, found.publicKey)
    }),
  )
}

/** Python's client takes a new bundle from the answer; that of TypeScript does not look, and gets none. */
async function renewed(
  call: Call,
  bundle: BundleRecord,
  { entries }: GrantexUpload,
): Promise<JsonObject | null> {
  const { renewBelow, world } = call.dialect
  const { issuedAt } = bundleExtra(bundle)
  const left = (bundle.expiresAt - world.now()) / (bundle.expiresAt - issuedAt)
  if (entries[0]?.dialect !== 'grantex-py' || !(left < renewBelow)) return null
  try {
    return await renew(call, bundle.id)
  } catch (error) {
    if (error instanceof Refusal) return null // revoked or expired in between: the next sync tells
    throw error
  }
}

/** Keeps what is wrong with a log, with the entry that shows it. */
async function report(
  call: Call,
  bundle: BundleRecord,
  fault: { readonly code: string; readonly seq: number },
  { entries }: GrantexUpload,
): Promise<void> {
  const { store, now } = call.dialect.world
  const evidence = entries.find(({ seq }) => seq === fault.seq)?.text ?? ''
  const key = `bundle:${bundle.id}`
  const findings = await store.records.list('finding', { key, limit: MAX_FINDINGS })
  if (findings.length >= MAX_FINDINGS) return
  const id = `finding_${await digestOf(`${bundle.id}\n${fault.code}\n${evidence}`)}`
  const known = { chains: bundleExtra(bundle).chains } as unknown as JsonObject
  const kind = `grantex:${fault.code}`
  const record = { id, bundle: bundle.id, kind, evidence, known, at: now() }
  await store.commit([{ put: 'finding', record, version: 0 }]).catch((error) => {
    if (!isConflict(error)) throw error // it was found before
  })
}
