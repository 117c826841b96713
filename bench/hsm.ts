/**
 * Signatures per second through each store, against its own floor: the addon called bare, the SDK called bare.
 *
 *     deno run -A bench/hsm.ts [seconds]
 *
 * Prints JSON. `ratio` is ours over the floor with as many calls under way at once; the bar is 0.9. KMS is
 * ministack, named by SIGNET_MINISTACK; without it that part is left out.
 */
import { Buffer } from 'node:buffer'
import { createRequire } from 'node:module'
import process from 'node:process'
import { KMSClient, SignCommand } from '@aws-sdk/client-kms'
import { type AlgorithmName, ALGORITHMS } from '../src/algorithms.ts'
import { type Key, parseKeyUri } from '../src/keys/mod.ts'
import { awsKmsKeys } from '../backends/aws_kms.ts'
import { pkcs11Keys } from '../backends/pkcs11.ts'
import { MINISTACK, run } from '../test/system/_emulators.ts'
import { makeToken, PIN, softhsm } from '../test/system/_softhsm.ts'

const SECONDS = Number(process.argv[2] ?? 2)
const ROUNDS = 9
const digest = crypto.getRandomValues(new Uint8Array(32))

/** Calls per second with so many under way at once. */
async function rate(parallel: number, call: (worker: number) => Promise<unknown>): Promise<number> {
  const end = performance.now() + SECONDS * 1000 / ROUNDS
  let calls = 0
  const start = performance.now()
  await Promise.all(Array.from({ length: parallel }, async (_, worker) => {
    while (performance.now() < end) {
      await call(worker)
      calls++
    }
  }))
  return calls / (performance.now() - start) * 1000
}

/** Measured in turns; the ratio is the median of the rounds', so that what slows the machine slows both. */
async function compare(
  name: string,
  parallel: number,
  ours: (worker: number) => Promise<unknown>,
  bare: (worker: number) => Promise<unknown>,
) {
  const rates = { ours: [] as number[], bare: [] as number[] }
  await rate(parallel, bare) // warm
  await rate(parallel, ours)
  for (let round = 0; round < ROUNDS; round++) {
    rates.bare.push(await rate(parallel, bare))
    rates.ours.push(await rate(parallel, ours))
  }
  const median = (all: readonly number[]) => all.toSorted((a, b) => a - b)[all.length >> 1]!
  return {
    name,
    parallel,
    perSecond: Math.round(median(rates.ours)),
    floor: Math.round(median(rates.bare)),
    ratio: Number(median(rates.ours.map((mine, i) => mine / rates.bare[i]!)).toFixed(2)),
  }
}

async function token(name: AlgorithmName, mechanism: number, parallel: number) {
  const { token, module, pinFile } = makeToken(`bench-${name}-${parallel}`)
  const uri = parseKeyUri(`pkcs11:${token};object=key?${module}&pin-source=${pinFile}`)
  const key: Key = await pkcs11Keys({ sessions: parallel }).generate(uri, ALGORITHMS[name])
  const mode = key.modes[0]!
  // The floor: one session for each call, the key found once, no checks.
  const { PKCS11 } = createRequire(import.meta.url)('pkcs11js')
  const raw = new PKCS11()
  raw.load(softhsm!)
  const slot = raw.C_GetSlotList(true).find((one: Buffer) =>
    raw.C_GetTokenInfo(one).label.trim() === `bench-${name}-${parallel}`
  )
  const sessions = Array.from({ length: parallel }, () => raw.C_OpenSession(slot, 4))
  try {
    raw.C_Login(sessions[0], 1, PIN)
  } catch (error) {
    if (!String(error).includes('ALREADY_LOGGED_IN')) throw error
  }
  raw.C_FindObjectsInit(sessions[0], [{ type: 0, value: 3 }])
  const [handle] = raw.C_FindObjects(sessions[0], 1)
  raw.C_FindObjectsFinal(sessions[0])
  const input = Buffer.from(digest)
  const sign = { mechanism, parameter: null }
  const held = sessions.map(() => Buffer.alloc(512))
  const result = [
    await compare(
      `pkcs11 ${name}, bare asynchronous`,
      parallel,
      () => key.sign({ mode, bytes: digest }),
      (worker) => {
        raw.C_SignInit(sessions[worker], sign, handle)
        return raw.C_SignAsync(sessions[worker], input, held[worker])
      },
    ),
  ]
  if (parallel === 1) {
    result.push(
      await compare(
        `pkcs11 ${name}, bare synchronous (blocks the process)`,
        1,
        () => key.sign({ mode, bytes: digest }),
        () => {
          raw.C_SignInit(sessions[0], sign, handle)
          return Promise.resolve(raw.C_Sign(sessions[0], input, held[0]))
        },
      ),
    )
  }
  await key.close()
  return result
}

async function kms(parallel: number) {
  const { endpoint, stop } = await run(MINISTACK)
  const credentials = { accessKeyId: 'bench', secretAccessKey: 'bench' }
  const region = 'eu-west-1'
  try {
    const uri = parseKeyUri(`awskms:key-id=alias/key;region=${region};endpoint=${endpoint}`)
    const key = await awsKmsKeys({ credentials }).generate(uri, ALGORITHMS.ES256)
    const client = new KMSClient({ region, endpoint, credentials })
    const request = {
      KeyId: 'alias/key',
      Message: digest,
      MessageType: 'DIGEST',
      SigningAlgorithm: 'ECDSA_SHA_256',
    } as const
    const result = await compare(
      'awskms ES256 on ministack',
      parallel,
      () => key.sign({ mode: 'digest', bytes: digest }),
      () => client.send(new SignCommand(request)),
    )
    client.destroy()
    await key.close()
    return result
  } finally {
    await stop()
  }
}

const results = []
for (const parallel of [1, 4]) {
  results.push(...await token('ES256', 0x1041, parallel))
  results.push(...await token('Ed25519', 0x1057, parallel))
}
if (MINISTACK.program !== undefined) {
  for (const parallel of [1, 8]) results.push(await kms(parallel))
}
console.log(JSON.stringify({ runtime: process.versions, seconds: SECONDS, results }, null, 2))
process.exit(0)
