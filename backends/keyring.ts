/** All providers of keys in one ring, as the command line has them. Each is loaded when first used. */
import { ALGORITHMS } from '../src/algorithms.ts'
import { SignetError } from '../src/errors.ts'
import {
  compositeKeys,
  type KeyProvider,
  type Keyring,
  keyring,
  lazyKeys,
  wrappedKeys,
} from '../src/keys/mod.ts'
import { fileKeys, type FileKeysOptions } from './file_keys.ts'
import { readLimited, writeNew } from './files.ts'

/** Options of {@link openKeyring}. */
export interface KeyringOptions extends Omit<FileKeysOptions, 'open'> {
  /** Says something that the user should know: a PIN in a URI. */
  warn(message: string): void
}

const TOKEN = [
  ALGORITHMS.ES256,
  ALGORITHMS.ES384,
  ALGORITHMS.ES512,
  ALGORITHMS.Ed25519,
  ALGORITHMS.RS256,
  ALGORITHMS.PS256,
]
const KMS = [...TOKEN, ALGORITHMS['ML-DSA-65']]

/** The ring of `file:`, `pkcs11:`, `awskms:`, `wrapped:` and `composite:`. */
export function openKeyring(options: KeyringOptions): Keyring {
  const ring: Keyring = keyring(
    // A keyset file may name a key of another store, and composites and wrapped keys always do.
    fileKeys({ ...options, open: (uri, more) => ring.open(uri, more) }),
    lazyKeys('pkcs11', TOKEN, () => tokens(options)),
    lazyKeys('awskms', KMS, async () => (await import('./aws_kms.ts')).awsKmsKeys()),
    wrappedKeys({ openKek: (uri, more) => ring.openKek(uri, more) }, {
      readFile: readLimited,
      writeNew: (path, bytes) => writeNew(path, bytes),
    }),
    compositeKeys({
      open: (uri, more) => ring.open(uri, more),
      provider: (uri) => ring.provider(uri),
    }),
  )
  return ring
}

async function tokens({ passphrase, warn }: KeyringOptions): Promise<KeyProvider> {
  const { pkcs11Keys } = await import('./pkcs11.ts')
  return pkcs11Keys({
    warn,
    pin: async (token) => {
      const pin = await passphrase?.(`token "${token}" (its PIN)`)
      if (pin !== undefined) return pin
      throw new SignetError('passphrase_required', `token "${token}" wants a PIN`)
    },
  })
}
