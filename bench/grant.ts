/**
 * What verifying a grant costs, against the signatures that it cannot be cheaper than, and against Grantex's clients
 * on the very same token.
 *
 *     deno run -A bench/grant.ts [--quick] [--json]      (also with node and bun)
 *
 * Every row is measured in turn with its base and told as the median of the ratios of one to the other: what
 * else the machine does then hits both. "Cold" is a chain that was never seen; with "new keys" nor was any
 * key in it but the issuer's. Bare WebCrypto verifies one token, taken apart already, under a key that is imported
 * already; so are the keys of the issuer, and of holders that are not new.
 *
 * `@grantex/gemma` takes part if it is installed or SIGNET_GEMMA names its `dist/index.js`; the client of PyPI if
 * SIGNET_GRANTEX_PYTHON names a Python that has `grantex-gemma`.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cpus } from 'node:os'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { nodeSha256 } from '../backends/node_sha256.ts'
import { ALGORITHMS } from '../src/algorithms.ts'
import { toSpki } from '../src/crypto/mod.ts'
import { parseJws } from '../src/envelope/mod.ts'
import {
  authorizeCall,
  type GrantChain,
  grantVerifier,
  issueGrant,
  narrowGrant,
  type TrustedIssuer,
  verifyGrant,
} from '../src/grants/mod.ts'
import { generateKey, type Key } from '../src/keys/mod.ts'

const quick = process.argv.includes('--quick')
const json = process.argv.includes('--json')
const rounds = quick ? 200 : 1000
const ISSUER = 'https://auth.example.com'
const TOOLS = {
  read_file: {
    path: { constraint_type: 'one_of', values: ['/data/q3-report.pdf', '/data/q4-report.pdf'] },
  },
  search_index: {
    query: { constraint_type: 'one_of', values: ['public filings', 'public releases'] },
    limit: { constraint_type: 'range', max: 100 },
  },
}

const trust = (key: Key): TrustedIssuer[] => [{ issuer: ISSUER, keys: [key.publicKey] }]
const makeKeys = (count: number) =>
  Promise.all(Array.from({ length: count }, () => generateKey(ALGORITHMS.Ed25519)))

/** A chain from the first key to the last. */
async function chainOf(keys: readonly Key[]): Promise<GrantChain> {
  let chain = await issueGrant(keys[0]!, {
    issuer: ISSUER,
    holder: keys[1]!.publicKey,
    tools: TOOLS,
    lifetime: 3600,
    maxDepth: 3,
  })
  for (let at = 1; at + 1 < keys.length; at++) {
    chain = await narrowGrant(chain, keys[at]!, { holder: keys[at + 1]!.publicKey })
  }
  return chain
}

/** Chains of new tokens, each good for one cold verification. */
async function supply(make: () => Promise<GrantChain>, count: number): Promise<() => GrantChain> {
  const chains: GrantChain[] = []
  for (let i = 0; i < count; i++) chains.push(await make())
  return () => chains.pop()!
}

/** The platform's own verification of a token's signature, and nothing else. */
async function bare(key: Key, token: string): Promise<() => Promise<boolean>> {
  const { algorithm, raw } = key.publicKey
  const { signature, signingInput } = parseJws(token)
  const parameters = algorithm.webcrypto as unknown as AlgorithmIdentifier
  const spki = toSpki(algorithm, raw)
  const imported = await crypto.subtle.importKey('spki', spki, parameters, false, ['verify'])
  return () => crypto.subtle.verify(parameters, imported, signature, signingInput)
}

interface Row {
  readonly name: string
  readonly bar: string
  /** What the ratio is of: how often slower than the base, or how much faster. */
  readonly ratio: 'time' | 'rate'
  readonly rounds: number
  base(): unknown
  /** The base runs in another process and answers with its own microseconds. */
  readonly isTold?: boolean
  work(): unknown
  /** Calls of `work` in one measurement, for what is too short to be timed alone. */
  readonly times?: number
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!

async function timed(work: () => unknown, times: number): Promise<number> {
  const from = performance.now()
  for (let i = 0; i < times; i++) await work()
  return (performance.now() - from) * 1000 / times
}

async function measure(row: Row) {
  const [base, own, ratios]: number[][] = [[], [], []]
  const { times = 1 } = row
  for (let round = 0; round < row.rounds; round++) {
    const before = row.isTold ? Number(await row.base()) : await timed(row.base, 1)
    const after = await timed(row.work, times)
    if (round < row.rounds / 4) continue // warms up
    base!.push(before)
    own!.push(after)
    ratios!.push(row.ratio === 'time' ? after / before : before / after)
  }
  return {
    name: row.name,
    baseUs: median(base!),
    ownUs: median(own!),
    ratio: median(ratios!),
    bar: row.bar,
  }
}

interface Gemma {
  createOfflineVerifier(options: object): { verify(token: string): Promise<unknown> }
}

async function findGemma(): Promise<Gemma | undefined> {
  const { SIGNET_GEMMA: path } = process.env
  const name = path === undefined ? '@grantex/gemma' : pathToFileURL(path).href
  return await import(name).catch(() => undefined)
}

/** Verifies as often as each line says, and answers with the microseconds of one. */
const PYTHON = `
import asyncio, json, sys, time
from grantex_gemma import create_offline_verifier, JWKSSnapshot
given = json.loads(sys.argv[1])
jwks = JWKSSnapshot(given['keys'], given['fetchedAt'], given['validUntil'])
verifier = create_offline_verifier(jwks, require_scopes=given['scopes'])
async def serve():
    for line in sys.stdin:
        times = int(line)
        begin = time.perf_counter()
        for _ in range(times):
            await verifier.verify(given['token'])
        print((time.perf_counter() - begin) * 1e6 / times, flush=True)
asyncio.run(serve())
`

/** The Python client in a process of its own; undefined if there is none. */
async function startPython(given: unknown) {
  const { SIGNET_GRANTEX_PYTHON: program } = process.env
  if (program === undefined || !existsSync(program)) return undefined
  const child = spawn(program, ['-c', PYTHON, JSON.stringify(given)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.on('error', () => {}) // its end is heard of below
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const python = {
    async verify(times: number): Promise<number> {
      child.stdin.write(`${times}\n`)
      return Number((await lines.next()).value)
    },
    end: () => void child.stdin.end(),
  }
  return await python.verify(1) > 0 ? python : undefined
}

const keys = await makeKeys(5)
const rsa = await generateKey(ALGORITHMS.RS256)
const sha256 = nodeSha256
const [ed25519Trust, rsaTrust] = [trust(keys[0]!), trust(rsa)]
const single = await supply(() => chainOf(keys.slice(0, 2)), rounds)
const rsaRounds = Math.ceil(rounds / 4)
const rsaSingle = await supply(() => chainOf([rsa, keys[1]!]), rsaRounds)
const known = await supply(() => chainOf(keys), rounds)
const unknownRounds = Math.ceil(rounds / 4)
const unknown = await supply(
  async () => await chainOf([keys[0]!, ...await makeKeys(4)]),
  unknownRounds,
)

const sample = await chainOf(keys.slice(0, 2))
const ed25519 = await bare(keys[0]!, sample[0]!)
const rsaBare = await bare(rsa, (await chainOf([rsa, keys[1]!]))[0]!)

const rows: Row[] = [
  {
    name: 'one token, Ed25519, cold: rate of bare WebCrypto',
    bar: '≥ 0.85',
    ratio: 'rate',
    rounds,
    base: ed25519,
    work: () => verifyGrant(single(), ed25519Trust, { sha256 }),
  },
  {
    name: 'one token, RS256, cold: rate of bare WebCrypto',
    bar: '≥ 0.85',
    ratio: 'rate',
    rounds: rsaRounds,
    base: rsaBare,
    work: () => verifyGrant(rsaSingle(), rsaTrust, { sha256 }),
  },
  {
    name: 'chain of 4, cold: times one bare Ed25519',
    bar: '≤ 5',
    ratio: 'time',
    rounds,
    base: ed25519,
    work: () => verifyGrant(known(), ed25519Trust, { sha256 }),
  },
  {
    name: 'chain of 4, cold, new keys: times one bare Ed25519',
    bar: '',
    ratio: 'time',
    rounds: unknownRounds,
    base: ed25519,
    work: () => verifyGrant(unknown(), ed25519Trust, { sha256 }),
  },
]

// One token for all clients: an RS256 root with the claims that Grantex's read.
const scopes = ['calendar:read', 'mail:send']
const [shared] = await issueGrant(rsa, {
  issuer: ISSUER,
  holder: keys[1]!.publicKey,
  scopes,
  lifetime: 3600,
  more: { sub: 'user', agt: 'did:agent', scp: scopes, grnt: 'grnt_1', delegationDepth: 0 },
}) as [string]
const snapshot = {
  keys: [{ ...rsa.publicKey.jwk, kid: rsa.publicKey.id, use: 'sig' }],
  fetchedAt: new Date().toISOString(),
  validUntil: new Date(Date.now() + 3_600_000).toISOString(),
}
const verifier = grantVerifier(rsaTrust)
const call = { tool: 'calendar:read', args: {}, possession: 'held-here' } as const
const again = async () => {
  const { allowed } = await authorizeCall(await verifier.verify([shared]), call)
  if (!allowed) throw new Error('denied')
}

const gemma = await findGemma()
if (gemma !== undefined) {
  const theirs = gemma.createOfflineVerifier({
    jwksSnapshot: snapshot,
    requireScopes: ['calendar:read'],
  })
  rows.push({
    name: 'same grant again, with authorize: rate of gemma',
    bar: '≥ 50',
    ratio: 'rate',
    rounds: rsaRounds,
    base: () => theirs.verify(shared),
    work: again,
    times: 100,
  })
} else console.error('@grantex/gemma is not here; its row is missing')

const python = await startPython({ ...snapshot, token: shared, scopes: ['calendar:read'] })
if (python !== undefined) {
  rows.push({
    name: "same grant again, with authorize: rate of Python's",
    bar: '≥ 15',
    ratio: 'rate',
    rounds: rsaRounds,
    base: () => python.verify(20),
    isTold: true,
    work: again,
    times: 100,
  })
} else {
  console.error('SIGNET_GRANTEX_PYTHON names no Python with grantex-gemma; its row is missing')
}

// Compilers warm up on chains that are not measured.
for (let i = 0; i < rounds; i++) await verifyGrant(sample, ed25519Trust, { sha256 })
const results = []
for (const row of rows) results.push(await measure(row))
python?.end()
const runtime = process.versions.deno
  ? `deno ${process.versions.deno}`
  : process.versions.bun
  ? `bun ${process.versions.bun}`
  : process.version
if (json) {
  console.log(
    JSON.stringify({ runtime, cpu: cpus()[0]?.model, cores: cpus().length, rounds, results }),
  )
} else {
  console.log(`${runtime}, ${cpus().length} cores, medians of ${rounds} rounds at most`)
  for (const { name, baseUs, ownUs, ratio, bar } of results) {
    console.log(
      `${name.padEnd(52)} ${ratio.toFixed(2).padStart(7)} ${bar.padStart(7)}   ` +
        `${ownUs.toFixed(1).padStart(7)} µs against ${baseUs.toFixed(1)} µs`,
    )
  }
}
