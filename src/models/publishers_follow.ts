/**
 * Rotations inside a publishers list: a publisher whose key is in the list has handed over to a new one, and
 * signed so, before the list's owner made a new version. The list itself stays as its owner signed it; what is
 * followed here is in memory, and lasts for one verification.
 *
 * Following gives nobody more than he had: whoever holds a listed key can seal with it as well. What the owner
 * revoked or ended hands over to nobody, whatever time a statement claims, and what he took in from another
 * chain makes this one a fork.
 */
import { claimedRotations, type Envelope, followRotations } from '../envelope/mod.ts'
import { SignetError } from '../errors.ts'
import { refusal } from '../keys/mod.ts'
import { mergeKeyset, type PublishersDocument } from './publishers.ts'
import { trustOfDocument, type VerifiedPublishers } from './publishers_file.ts'
import type { Trust } from './trust.ts'

/**
 * Whom a verified list makes a verifier of seals trust, after the rotations of its publishers. Each chain is
 * one publisher's, oldest statement first. `now` in seconds since 1970.
 *
 * Errors: those of `followRotations`; `signer_untrusted` (a chain is of no key of the list);
 * `publishers_malformed` (it hands over to a key of another publisher).
 */
export async function trustFollowing(
  { document }: VerifiedPublishers,
  chains: readonly (readonly Envelope[])[],
  now: number,
): Promise<Trust> {
  let current = document
  for (const chain of chains) current = await follow(current, chain, now)
  return trustOfDocument(current)
}

async function follow(
  document: PublishersDocument,
  chain: readonly Envelope[],
  now: number,
): Promise<PublishersDocument> {
  const claims = await claimedRotations(chain)
  const keys = new Set(claims.flatMap(({ from, to }) => [from, to]))
  const publisher = document.publishers.find(({ members }) =>
    members.some(({ key }) => keys.has(key.id))
  )
  if (publisher === undefined) {
    throw new SignetError('signer_untrusted', 'the rotations are of no key of the publishers', {
      remedy: 'ask the owner of the list to add the publisher',
    })
  }
  // In the list the publisher goes by the name that the owner gave it; the chain has the keyset's own.
  const name = claims[0]?.name ?? ''
  const { members } = await followRotations({ name, members: publisher.members }, chain)
  const before = publisher.members.find(({ status }) => status === 'primary')
  const after = members.find(({ status }) => status === 'primary')
  if (before !== undefined && after?.key.id !== before.key.id) {
    const refused = refusal(before, now)
    if (refused !== undefined) throw refused
  }
  return mergeKeyset(document, { name: publisher.name, members })
}
