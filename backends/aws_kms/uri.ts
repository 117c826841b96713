/**
 * `awskms:` URIs, in both forms that are in use:
 *
 *     awskms:key-id=alias/models;region=eu-west-1         as step-kms writes them; endpoint= and alg= may follow
 *     awskms://localhost:4566/alias/models?region=…       as cosign writes them; the host may be empty
 */
import { type AlgorithmName, ALGORITHMS } from '../../src/algorithms.ts'
import { SignetError } from '../../src/errors.ts'
import { type KeyUri, parseKeyUri, uriAttributes } from '../../src/keys/mod.ts'

/** What a URI says. Nothing of it is secret: credentials come from the SDK's own chain. */
export interface KmsUri {
  /** Key id, alias (`alias/…`) or ARN; empty for all of a region. */
  readonly keyId: string
  /** Undefined: the SDK's own default. */
  readonly region: string | undefined
  /** Undefined: AWS. */
  readonly endpoint: string | undefined
  /** The signature scheme of an RSA key. */
  readonly algorithm: AlgorithmName | undefined
}

/**
 * Takes an `awskms:` URI apart. With `wholeRegion` it need not name a key, whose id is empty then.
 * Errors: `uri_malformed`.
 */
export function parseKmsUri(
  uri: KeyUri,
  { wholeRegion = false }: { readonly wholeRegion?: boolean } = {},
): KmsUri {
  const { keyId, endpoint, attributes } = uri.rest.startsWith('//') ? slashed(uri) : listed(uri)
  // The characters of ids, aliases and ARNs (KMS API reference, CreateAlias and KeyId).
  const isKey = /^[A-Za-z0-9:/_+=,.@-]{1,2048}$/.test(keyId)
  if (!isKey && !(wholeRegion && keyId === '')) throw malformed('it names no key')
  const arn = /^arn:[a-z-]+:kms:([a-z0-9-]+):[0-9]{12}:(?:key|alias)\/./.exec(keyId)
  if (keyId.startsWith('arn:') && arn === null) throw malformed('the ARN is not one of KMS')
  const region = attributes.get('region') ?? arn?.[1]
  if (region !== undefined && !/^[a-z0-9-]{1,40}$/.test(region)) throw malformed('region')
  const alg = attributes.get('alg')
  if (alg !== undefined && !Object.hasOwn(ALGORITHMS, alg)) throw malformed('alg is not known')
  return {
    keyId,
    region,
    endpoint: endpoint === undefined ? undefined : checkEndpoint(endpoint),
    algorithm: alg as AlgorithmName | undefined,
  }
}

interface Parts {
  readonly keyId: string
  readonly endpoint: string | undefined
  readonly attributes: Map<string, string>
}

function listed(uri: KeyUri): Parts {
  const attributes = uriAttributes(uri, ['key-id', 'region', 'endpoint', 'alg'])
  const keyId = attributes.get('key-id') ?? ''
  return { keyId, endpoint: attributes.get('endpoint'), attributes }
}

function slashed(uri: KeyUri): Parts {
  const [, host = '', keyId = '', query = ''] =
    /^\/\/([^/?]*)\/([^?]*)(?:\?(.*))?$/.exec(uri.rest) ?? []
  const loopback = /^(?:localhost|127\.[0-9.]+|\[::1\])(?::|$)/.test(host)
  return {
    keyId,
    endpoint: host === '' ? undefined : `${loopback ? 'http' : 'https'}://${host}`,
    attributes: uriAttributes(parseKeyUri(`awskms:?${query}`), ['region', 'alg']),
  }
}

/** Requests are signed but their answers are not: in the clear they may only go to this machine. */
function checkEndpoint(text: string): string {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw malformed('endpoint is no URL')
  }
  const loopback = /^(?:localhost|127\.[0-9.]+|\[::1\])$/.test(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback)) {
    throw malformed('endpoint is not https:')
  }
  if (url.username !== '' || url.password !== '') throw malformed('endpoint holds credentials')
  return url.href
}

function malformed(why: string): SignetError {
  return new SignetError('uri_malformed', `awskms: URI: ${why}`, {
    remedy: 'write awskms:key-id=alias/NAME;region=REGION or awskms:///alias/NAME',
  })
}
