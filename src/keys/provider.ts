/** Where keys come from: one provider for each URI scheme. */
import type { Algorithm } from '../algorithms.ts'
import { SignetError } from '../errors.ts'
import type { Kek } from './kek.ts'
import type { Key, SignOptions } from './key.ts'
import type { PublicKey } from './public_key.ts'
import { type KeyUri, parseKeyUri } from './uri.ts'

/** A key that a store has. */
export interface ListedKey {
  /** Opens it. Holds no secret and nothing of how the store is reached but its name. */
  readonly uri: string
  /** What the store calls it; empty if it has no name. */
  readonly label: string
  /** What the store knows it by; empty if by nothing but its name. */
  readonly id: string
  /** Undefined for a kind of key that is not known here. */
  readonly algorithm: Algorithm | undefined
  /**
   * Its public half, undefined where the store shows none. That it belongs to the private one is not tried
   * out: opening does that.
   */
  readonly publicKey: PublicKey | undefined
}

/**
 * Opens keys of one URI scheme. `open` throws `key_not_found` when the store is fine and has no such
 * key, `uri_malformed` when the URI makes no sense, `passphrase_required`/`passphrase_wrong`, and
 * `key_backend_unavailable` when the store does not answer.
 */
export interface KeyProvider {
  /** The scheme it serves, without the colon. */
  readonly scheme: string
  /** Algorithms of which it can make keys. Empty if it makes none. */
  readonly algorithms: readonly Algorithm[]
  /** Opens an existing key. */
  open(uri: KeyUri, options?: SignOptions): Promise<Key>
  /**
   * Makes a key at a URI where there is none (`file_exists` otherwise), of one of `algorithms`
   * (`algorithm_unsupported` otherwise). Of two calls at once for one URI, one makes its key.
   */
  generate(uri: KeyUri, algorithm: Algorithm, options?: SignOptions): Promise<Key>
  /** Opens a key that encrypts other keys, where the store has such (see {@link Kek}). */
  openKek?(uri: KeyUri, options?: SignOptions): Promise<Kek>
  /** Makes a key that encrypts other keys, where there is none of that name (`file_exists`). */
  generateKek?(uri: KeyUri, options?: SignOptions): Promise<Kek>
  /** The keys that sign, of a store that the URI names; what else the URI says narrows the list. */
  list?(uri: KeyUri, options?: SignOptions): Promise<readonly ListedKey[]>
}

/** Throws `algorithm_unsupported` for an algorithm that a provider does not declare. */
export function requireAlgorithm(declared: readonly Algorithm[], algorithm: Algorithm): void {
  if (declared.includes(algorithm)) return
  throw new SignetError('algorithm_unsupported', `no ${algorithm.name} key can be made here`, {
    remedy: `use ${declared.map(({ name }) => name).join(', ')}`,
  })
}

/** The providers of a program, asked by scheme. */
export interface Keyring {
  /** The provider of a URI, or `uri_malformed` that lists the schemes. */
  provider(uri: string): { readonly provider: KeyProvider; readonly uri: KeyUri }
  /** Opens a key by its URI. */
  open(uri: string, options?: SignOptions): Promise<Key>
  /** Opens a key encryption key by its URI; `usage_invalid` where the provider has none. */
  openKek(uri: string, options?: SignOptions): Promise<Kek>
  /** Makes one. */
  generateKek(uri: string, options?: SignOptions): Promise<Kek>
  /** Lists the keys of a store; `usage_invalid` where the provider has no lists. */
  list(uri: string, options?: SignOptions): Promise<readonly ListedKey[]>
}

/** Puts providers together. */
export function keyring(...providers: readonly KeyProvider[]): Keyring {
  const byScheme = new Map(providers.map((provider) => [provider.scheme, provider]))
  const find = (text: string) => {
    const uri = parseKeyUri(text)
    const provider = byScheme.get(uri.scheme)
    if (provider !== undefined) return { provider, uri }
    throw new SignetError('uri_malformed', `no key provider for "${uri.scheme}:"`, {
      remedy: `use ${[...byScheme.keys()].map((scheme) => scheme + ':').join(', ')}`,
    })
  }
  return {
    provider: find,
    open: async (text, options) => {
      const { provider, uri } = find(text)
      return await provider.open(uri, options)
    },
    openKek: async (text, options) => {
      const { provider, uri } = find(text)
      if (provider.openKek === undefined) throw noKeks(uri.scheme)
      return await provider.openKek(uri, options)
    },
    generateKek: async (text, options) => {
      const { provider, uri } = find(text)
      if (provider.generateKek === undefined) throw noKeks(uri.scheme)
      return await provider.generateKek(uri, options)
    },
    list: async (text, options) => {
      const { provider, uri } = find(text)
      if (provider.list === undefined) throw noList(uri.scheme)
      return await provider.list(uri, options)
    },
  }
}

/**
 * A provider that is loaded when its first key is opened: what talks to an HSM or a cloud is heavy, and a
 * verification must not wait for it. `algorithms` are those that it will turn out to make.
 */
export function lazyKeys(
  scheme: string,
  algorithms: readonly Algorithm[],
  load: () => Promise<KeyProvider>,
): KeyProvider {
  let loaded: Promise<KeyProvider> | undefined
  const provider = () => loaded ??= load()
  return {
    scheme,
    algorithms,
    open: async (uri, options) => await (await provider()).open(uri, options),
    generate: async (uri, algorithm, options) =>
      await (await provider()).generate(uri, algorithm, options),
    openKek: async (uri, options) => {
      const loaded = await provider()
      if (loaded.openKek === undefined) throw noKeks(scheme)
      return await loaded.openKek(uri, options)
    },
    generateKek: async (uri, options) => {
      const loaded = await provider()
      if (loaded.generateKek === undefined) throw noKeks(scheme)
      return await loaded.generateKek(uri, options)
    },
    list: async (uri, options) => {
      const loaded = await provider()
      if (loaded.list === undefined) throw noList(scheme)
      return await loaded.list(uri, options)
    },
  }
}

function noList(scheme: string): SignetError {
  return new SignetError('usage_invalid', `${scheme}: keys are not listed`, {
    remedy: 'a keyset file lists its members: signet keys list FILE',
  })
}

function noKeks(scheme: string): SignetError {
  return new SignetError('usage_invalid', `${scheme}: keys do not encrypt other keys`)
}
