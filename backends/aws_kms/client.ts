/** The SDK's client behind one narrow function, loaded when the first key is opened; one per region and endpoint. */
import { SignetError } from '../../src/errors.ts'
import { abortable, checkAborted, type SignOptions } from '../../src/keys/mod.ts'
import { faultOf } from './faults.ts'
import type { KmsUri } from './uri.ts'

/** The operations in use. */
export type Operation =
  | 'CreateAlias'
  | 'CreateKey'
  | 'Decrypt'
  | 'DescribeKey'
  | 'Encrypt'
  | 'GenerateDataKey'
  | 'GetPublicKey'
  | 'ListAliases'
  | 'ListKeys'
  | 'ScheduleKeyDeletion'
  | 'Sign'

/** One service. No part of what it answers is believed unseen. */
export interface Service {
  /** Calls an operation. Throws `SignetError` alone. */
  call(
    operation: Operation,
    input: Readonly<Record<string, unknown>>,
    options?: SignOptions,
  ): Promise<Readonly<Record<string, unknown>>>
  /** Lets go; the connections close with the last user. */
  close(): void
}

/** Credentials as AWS gives them out. */
export interface AwsCredentials {
  /** Names the credentials. */
  readonly accessKeyId: string
  /** Secret. */
  readonly secretAccessKey: string
  /** Secret; of those that last for a while only. */
  readonly sessionToken?: string
  /** When they end. */
  readonly expiration?: Date
}

/** What the client is made with, beside region and endpoint. */
export interface ClientOptions {
  /** Default: the SDK's chain: environment, profile, web identity, container, instance. */
  readonly credentials?: AwsCredentials | (() => Promise<AwsCredentials>) | undefined
  /** How often a request is sent at most, with growing pauses. Default 5. */
  readonly attempts?: number | undefined
  /** How long one attempt may take, in milliseconds. Default 10 000. */
  readonly timeout?: number | undefined
}

/** As much of the SDK's client as we use. */
interface Client {
  send(
    command: object,
    options: { abortSignal?: AbortSignal },
  ): Promise<Readonly<Record<string, unknown>>>
  destroy(): void
}

/** Opens services; those of one region and endpoint share their connections. */
export function services(options: ClientOptions): (where: KmsUri) => Promise<Service> {
  const clients = new Map<
    string,
    { readonly client: Client; users: number }
  >()
  return async ({ region, endpoint }) => {
    const sdk = await load()
    const commands = sdk as unknown as Record<string, new (input: object) => object>
    const name = `${region} ${endpoint}`
    let entry = clients.get(name)
    if (entry === undefined) {
      const timeout = options.timeout ?? 10_000
      const client: unknown = new sdk.KMSClient({
        ...(region === undefined ? {} : { region }),
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
        maxAttempts: options.attempts ?? 5,
        requestHandler: {
          requestTimeout: timeout,
          throwOnRequestTimeout: true,
          connectionTimeout: Math.min(timeout, 3_000),
        },
      })
      clients.set(name, entry = { client: client as Client, users: 0 })
    }
    const { client } = entry
    entry.users++
    let closed = false
    return {
      async call(operation, input, { signal } = {}) {
        checkAborted(signal)
        try {
          const Command = commands[`${operation}Command`]!
          const sent = client.send(new Command(input), signal ? { abortSignal: signal } : {})
          return await abortable(sent, signal)
        } catch (error) {
          checkAborted(signal)
          throw faultOf(error, operation)
        }
      },
      close() {
        if (closed) return
        closed = true
        const entry = clients.get(name)!
        if (--entry.users > 0) return
        clients.delete(name)
        client.destroy()
      },
    }
  }
}

async function load(): Promise<typeof import('@aws-sdk/client-kms')> {
  try {
    return await import('@aws-sdk/client-kms')
  } catch (cause) {
    throw new SignetError('key_backend_unavailable', 'the AWS SDK for KMS is not installed', {
      remedy: 'install it: npm install @aws-sdk/client-kms',
      cause,
    })
  }
}
