/** The keys of a region that sign: ids from ListKeys, names from ListAliases, and what each key says of itself. */
import { type Algorithm, ALGORITHMS } from '../../src/algorithms.ts'
import type { Bytes } from '../../src/bytes.ts'
import { isSignetError } from '../../src/errors.ts'
import { type ListedKey, publicKey, type SignOptions } from '../../src/keys/mod.ts'
import { type Answer, garbage, member, text } from './answers.ts'
import type { Operation, Service } from './client.ts'
import type { KmsUri } from './uri.ts'

/** More than that no account has by the quota (100 000 keys in pages of 1000). */
const MAX_PAGES = 1000

type PublicSide = (
  service: Service,
  keyId: string,
  where: KmsUri,
  options: SignOptions,
) => Promise<{ readonly algorithm: Algorithm; readonly publicKey: Bytes } | undefined>

/** Lists them. */
export async function listKeys(
  service: Service,
  where: KmsUri,
  options: SignOptions,
  publicSide: PublicSide,
): Promise<readonly ListedKey[]> {
  const ids = where.keyId === ''
    ? (await pages(service, 'ListKeys', 'Keys', options)).map((key) => text(key, 'KeyId'))
    : [where.keyId]
  const aliases = await allowed(() => pages(service, 'ListAliases', 'Aliases', options)) ?? []
  const listed: ListedKey[] = []
  for (const id of ids) {
    const key = await allowed(() => look(service, id, where, options, publicSide))
    if (key === undefined) continue
    const name = aliases.find(({ TargetKeyId }) =>
      typeof TargetKeyId === 'string' && key.id.endsWith(`/${TargetKeyId}`)
    )
    const label = name === undefined ? '' : text(name, 'AliasName')
    listed.push({ ...key, label, uri: uriOf(label === '' ? key.id : label, key, where) })
  }
  return listed
}

/** One key; undefined if it does not sign now. */
async function look(
  service: Service,
  id: string,
  where: KmsUri,
  options: SignOptions,
  publicSide: PublicSide,
): Promise<Omit<ListedKey, 'label' | 'uri'> | undefined> {
  const found = member(await service.call('DescribeKey', { KeyId: id }, options), 'KeyMetadata')
  if (found.KeyUsage !== 'SIGN_VERIFY' || found.KeyState !== 'Enabled') return undefined
  const arn = text(found, 'Arn')
  try {
    const side = await publicSide(service, arn, where, options)
    return side && {
      id: arn,
      algorithm: side.algorithm,
      publicKey: await publicKey(side.algorithm, side.publicKey),
    }
  } catch (error) {
    // A kind of key that is not served here, such as secp256k1.
    if (!isSignetError(error, 'algorithm_unsupported', 'der_malformed', 'key_malformed')) {
      throw error
    }
    return { id: arn, algorithm: undefined, publicKey: undefined }
  }
}

/** All that the pages of a list hold under a name. */
async function pages(
  service: Service,
  operation: Operation,
  name: string,
  options: SignOptions,
): Promise<readonly Answer[]> {
  const all: Answer[] = []
  let Marker: string | undefined
  for (let page = 0; page < MAX_PAGES; page++) {
    const answer = await service.call(operation, { Limit: 100, ...(Marker && { Marker }) }, options)
    const some = answer[name]
    if (!Array.isArray(some)) throw garbage(`${name} is missing`)
    all.push(...some)
    if (answer.Truncated !== true) return all
    Marker = text(answer, 'NextMarker')
  }
  throw garbage('its list has no end')
}

/** Undefined for what the caller may not see. */
async function allowed<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (isSignetError(error, 'key_access_denied')) return undefined
    throw error
  }
}

function uriOf(keyId: string, { algorithm }: Pick<ListedKey, 'algorithm'>, where: KmsUri): string {
  const { region, endpoint } = where
  const parts = [`key-id=${keyId}`]
  if (region !== undefined) parts.push(`region=${region}`)
  if (endpoint !== undefined) parts.push(`endpoint=${endpoint.replace(/\/$/, '')}`)
  if (algorithm === ALGORITHMS.PS256) parts.push('alg=PS256')
  return `awskms:${parts.join(';')}`
}
