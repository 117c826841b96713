/**
 * A double of AWS KMS: its JSON protocol over HTTP, on keys of our own in memory. It serves what no emulator
 * does (ML-DSA-65) and fails as it is told to. It proves that we speak the protocol as its documentation has
 * it; it proves nothing about AWS. Request signatures are not checked.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Buffer } from 'node:buffer'
import { type AlgorithmName, ALGORITHMS } from '../../src/algorithms.ts'
import { utf8 } from '../../src/bytes.ts'
import { ecdsaToDer, toSpki } from '../../src/crypto/mod.ts'
import { generateKey, type Kek, type Key, memoryKek } from '../../src/keys/mod.ts'

/** What the double is asked. Bytes are base64 text, as on the wire. */
export interface Call {
  readonly operation: string
  readonly body: Readonly<Record<string, unknown>>
}

/** An answer in place of the real one: an HTTP status with a body, or `drop` to cut the line. */
export type Fault = { readonly status: number; readonly body: object } | 'drop' | undefined

/** A running double. */
export interface KmsDouble {
  readonly endpoint: string
  readonly calls: Call[]
  /** Asked before each call; may wait. What it gives is answered instead. */
  fault: (call: Call) => Fault | Promise<Fault>
  /** May alter an answer. */
  alter: (call: Call, answer: Record<string, unknown>) => Record<string, unknown>
  close(): Promise<void>
}

interface Held {
  readonly arn: string
  readonly spec: string
  readonly usage: string
  state: string
  readonly key?: Key
  readonly kek?: Kek
}

/** Key spec → algorithm and the signing algorithm's name. */
const SPECS: Record<string, readonly [AlgorithmName, string]> = {
  ECC_NIST_P256: ['ES256', 'ECDSA_SHA_256'],
  ECC_NIST_P384: ['ES384', 'ECDSA_SHA_384'],
  ECC_NIST_P521: ['ES512', 'ECDSA_SHA_512'],
  ECC_NIST_EDWARDS25519: ['Ed25519', 'ED25519_SHA_512'],
  ML_DSA_65: ['ML-DSA-65', 'ML_DSA_SHAKE_256'],
}

class Refusal extends Error {
  readonly type: string
  constructor(type: string, message: string = type) {
    super(message)
    this.type = type
  }
}

/** Starts a double on a free port of this machine. */
export async function kmsDouble(): Promise<KmsDouble> {
  const keys = new Map<string, Held>()
  const aliases = new Map<string, string>()
  const find = (id: unknown): Held => {
    const text = String(id)
    const bare = text.replace(/^arn:.*:(?=alias\/)/, '').replace(/^arn:.*:key\//, '')
    const held = keys.get(aliases.get(bare) ?? bare)
    if (held === undefined) throw new Refusal('NotFoundException')
    return held
  }
  const usable = (id: unknown): Held => {
    const held = find(id)
    if (held.state === 'Disabled') throw new Refusal('DisabledException')
    if (held.state !== 'Enabled') throw new Refusal('KMSInvalidStateException')
    return held
  }
  const metadata = (held: Held) => ({
    KeyMetadata: {
      KeyId: held.arn.split('/')[1],
      Arn: held.arn,
      KeySpec: held.spec,
      KeyUsage: held.usage,
      KeyState: held.state,
    },
  })
  const wrapping = (held: Held): Kek => {
    if (held.kek === undefined) throw new Refusal('InvalidKeyUsageException')
    return held.kek
  }

  const operations: Record<string, (body: Record<string, unknown>) => Promise<object> | object> = {
    async CreateKey({ KeySpec, KeyUsage }) {
      const id = crypto.randomUUID()
      const spec = String(KeySpec)
      const entry = SPECS[spec]
      if (entry === undefined && spec !== 'SYMMETRIC_DEFAULT') {
        throw new Refusal('UnsupportedOperationException')
      }
      const held: Held = {
        arn: `arn:aws:kms:eu-west-1:111122223333:key/${id}`,
        spec,
        usage: String(KeyUsage),
        state: 'Enabled',
        ...(entry === undefined
          ? { kek: await memoryKek(id) }
          : { key: await generateKey(ALGORITHMS[entry[0]], { engine: 'noble' }) }),
      }
      keys.set(id, held)
      return metadata(held)
    },
    CreateAlias({ AliasName, TargetKeyId }) {
      if (aliases.has(String(AliasName))) throw new Refusal('AlreadyExistsException')
      aliases.set(String(AliasName), find(TargetKeyId).arn.split('/')[1]!)
      return {}
    },
    DescribeKey: ({ KeyId }) => metadata(find(KeyId)),
    // In pages of two, whatever is asked for: AWS, too, may give fewer than the limit.
    ListKeys: ({ Marker }) => page('Keys', Marker, [...keys.keys()].map((KeyId) => ({ KeyId }))),
    ListAliases: ({ Marker }) =>
      page(
        'Aliases',
        Marker,
        [...aliases].map(([AliasName, TargetKeyId]) => ({ AliasName, TargetKeyId })),
      ),
    ScheduleKeyDeletion({ KeyId }) {
      find(KeyId).state = 'PendingDeletion'
      return {}
    },
    GetPublicKey({ KeyId }) {
      const { arn, spec, usage, key } = usable(KeyId)
      if (key === undefined) throw new Refusal('UnsupportedOperationException')
      return {
        KeyId: arn,
        KeySpec: spec,
        KeyUsage: usage,
        SigningAlgorithms: [SPECS[spec]![1]],
        PublicKey: base64(toSpki(key.publicKey.algorithm, key.publicKey.raw)),
      }
    },
    async Sign({ KeyId, Message, MessageType, SigningAlgorithm }) {
      const { arn, spec, key } = usable(KeyId)
      if (key === undefined || SPECS[spec]![1] !== SigningAlgorithm) {
        throw new Refusal('InvalidKeyUsageException')
      }
      const bytes = Buffer.from(String(Message), 'base64')
      if (bytes.length < 1 || bytes.length > 4096) throw new Refusal('ValidationException')
      const { family } = key.publicKey.algorithm
      const mode = ({ DIGEST: 'digest', RAW: 'message', EXTERNAL_MU: 'external-mu' } as const)[
        String(MessageType ?? 'RAW')
      ]
      if (mode === undefined || !key.modes.includes(mode)) throw new Refusal('ValidationException')
      const signature = await key.sign({ mode, bytes }).catch(() => {
        throw new Refusal('ValidationException')
      })
      return {
        KeyId: arn,
        SigningAlgorithm,
        Signature: base64(family === 'ecdsa' ? ecdsaToDer(signature) : signature),
      }
    },
    async Encrypt({ KeyId, Plaintext, EncryptionContext }) {
      const held = usable(KeyId)
      const secret = Buffer.from(String(Plaintext), 'base64')
      const wrapped = await wrapping(held).wrap(secret, contextOf(EncryptionContext))
      return { KeyId: held.arn, CiphertextBlob: base64(wrapped) }
    },
    async GenerateDataKey({ KeyId, EncryptionContext }) {
      const held = usable(KeyId)
      const secret = crypto.getRandomValues(new Uint8Array(32))
      const wrapped = await wrapping(held).wrap(secret, contextOf(EncryptionContext))
      return { KeyId: held.arn, Plaintext: base64(secret), CiphertextBlob: base64(wrapped) }
    },
    async Decrypt({ KeyId, CiphertextBlob, EncryptionContext }) {
      const held = usable(KeyId)
      const blob = Buffer.from(String(CiphertextBlob), 'base64')
      const secret = await wrapping(held).unwrap(blob, contextOf(EncryptionContext)).catch(() => {
        throw new Refusal('InvalidCiphertextException')
      })
      return { KeyId: held.arn, Plaintext: base64(secret) }
    },
  }

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Uint8Array[] = []
    for await (const chunk of request) chunks.push(chunk as Uint8Array)
    const operation = String(request.headers['x-amz-target']).replace('TrentService.', '')
    const call: Call = { operation, body: JSON.parse(Buffer.concat(chunks).toString('utf8')) }
    double.calls.push(call)
    const fault = await double.fault(call)
    if (fault === 'drop') return void request.socket.destroy()
    if (fault !== undefined) return send(response, fault.status, fault.body)
    try {
      const result = await operations[operation]!({ ...call.body })
      send(response, 200, double.alter(call, { ...result }))
    } catch (error) {
      const { type = 'KMSInternalException', message } = error as Partial<Refusal>
      send(response, type === 'KMSInternalException' ? 500 : 400, { __type: type, message })
    }
  }
  const server: Server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const double: KmsDouble = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls: [],
    fault: () => undefined,
    alter: (_, result) => result,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return double
}

function page(name: string, marker: unknown, all: readonly object[]): object {
  const from = Number(marker ?? 0)
  const more = from + 2 < all.length
  return {
    [name]: all.slice(from, from + 2),
    Truncated: more,
    ...(more && { NextMarker: `${from + 2}` }),
  }
}

function contextOf(value: unknown): Record<string, string> {
  return (value ?? {}) as Record<string, string>
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = utf8(JSON.stringify(body))
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' })
  response.end(text)
}
