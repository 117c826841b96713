import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { publishersState, stateFolder } from '../../backends/publishers_state.ts'
import { replaceFile } from '../../backends/replace.ts'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { utf8 } from '../../src/bytes.ts'
import { generateKey, toPublicPem } from '../../src/keys/mod.ts'
import {
  acceptPublishers,
  newPublishers,
  revisePublishers,
  signPublishers,
} from '../../src/models/mod.ts'
import { publishersMemorySuite } from '../suites/publishers_memory_suite.ts'

const root = mkdtempSync(join(tmpdir(), 'signet-publishers-'))
after(() => rmSync(root, { recursive: true, force: true }))
let count = 0
const fresh = () => join(root, String(++count))
const NOW = 1_800_000_000
const posix = process.platform !== 'win32'

publishersMemorySuite('publishersState()', () => {
  const folder = fresh()
  return Promise.resolve([publishersState({ folder }), publishersState({ folder })])
})

const owner = await generateKey(ALGORITHMS['Ed25519'])
const first = newPublishers({ name: 'list', owners: [owner.publicKey], issued: NOW })
const second = revisePublishers(first, { issued: NOW })
const [one, two] = [await signPublishers(first, [owner]), await signPublishers(second, [owner])]
const options = { owners: [owner.publicKey], now: NOW }

/** A folder with versions 1 and 2 accepted, and the files of its only id. */
async function stage() {
  const folder = fresh()
  const memory = publishersState({ folder })
  await acceptPublishers(one, memory, 'a', options)
  await acceptPublishers(two, memory, 'a', options)
  const [name] = readdirSync(folder)
  return { folder, memory, inside: join(folder, name!) }
}

test('publishersState() refuses damage instead of forgetting', async () => {
  const { memory, inside } = await stage()
  const latest = join(inside, '2.json')
  const sound = readFileSync(latest)
  for (const damage of ['', 'x', sound.subarray(0, -1)]) {
    writeFileSync(latest, damage)
    await assert.rejects(memory.read('a'), { code: 'publishers_malformed', where: latest })
    await assert.rejects(acceptPublishers(one, memory, 'a', options), {
      code: 'publishers_malformed',
    })
  }
  writeFileSync(latest, sound)
  assert.equal((await memory.read('a'))!.version, 2)
})

test('publishersState() refuses a state that others can write', { skip: !posix }, async () => {
  const { folder, memory, inside } = await stage()
  for (const path of [folder, inside, join(inside, '2.json')]) {
    const { mode } = statSync(path)
    chmodSync(path, mode | 0o020)
    await assert.rejects(memory.read('a'), { code: 'publishers_untrusted', where: path })
    chmodSync(path, mode)
  }
  await memory.read('a')
})

test(
  'publishersState() is for its owner alone, and keeps what was accepted',
  { skip: !posix },
  async () => {
    const { folder, inside } = await stage()
    assert.deepEqual(readdirSync(inside).sort(), ['1.json', '2.json'])
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    assert.equal(statSync(inside).mode & 0o777, 0o700)
    assert.equal(statSync(join(inside, '2.json')).mode & 0o777, 0o600)
  },
)

test('publishersState() takes no notice of what a crash left', async () => {
  const { memory, inside } = await stage()
  for (const name of ['.signet-ab.tmp', '3.json.tmp', '03.json', 'x.json', '9']) {
    writeFileSync(join(inside, name), 'half')
  }
  assert.equal((await memory.read('a'))!.version, 2)
})

test('publishersState() says when it cannot remember', async () => {
  const folder = fresh()
  writeFileSync(folder, 'a file where a folder should be')
  const memory = publishersState({ folder })
  await assert.rejects(acceptPublishers(one, memory, 'a', options), (error: { code: string }) => {
    return ['io_failed', 'file_unreadable'].includes(error.code)
  })
})

test('stateFolder() is where the platform says', { skip: !posix }, () => {
  const before = process.env.XDG_STATE_HOME
  try {
    process.env.XDG_STATE_HOME = '/somewhere'
    assert.equal(stateFolder(), '/somewhere/signet')
    process.env.XDG_STATE_HOME = 'relative'
    assert.match(stateFolder(), /^\/.*(?:\.local\/state|Application Support)\/signet$/)
  } finally {
    if (before === undefined) delete process.env.XDG_STATE_HOME
    else process.env.XDG_STATE_HOME = before
  }
})

test(
  'publishersState() holds among processes, and when they are killed',
  { timeout: 90_000 },
  async () => {
    const folder = fresh()
    mkdirSync(folder, { mode: 0o700 })
    const lists = [first]
    while (lists.length < 12) lists.push(revisePublishers(lists.at(-1)!, { issued: NOW }))
    for (const [i, list] of lists.entries()) {
      writeFileSync(join(folder, `${i + 1}.list`), await signPublishers(list, [owner]))
    }
    writeFileSync(join(folder, 'owner.pem'), toPublicPem(owner.publicKey))
    const child = fileURLToPath(new URL('./_publishers_child.ts', import.meta.url))
    const run = 'Deno' in globalThis ? ['run', '-A', child] : [child]
    const state = join(folder, 'state')
    const children = [1, 2, 3].map((seed) => {
      const running = spawn(process.execPath, [...run, folder, state, String(seed)], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, NODE_NO_WARNINGS: '1' },
      })
      let out = ''
      running.stdout.on('data', (chunk) => {
        out += chunk
        // the third one dies in the middle of its work
        if (seed === 3 && out.includes('\n')) running.kill('SIGKILL')
      })
      return new Promise<string>((resolve) => running.on('close', () => resolve(out)))
    })
    const [a, b] = await Promise.all(children)
    // each process says what it accepted, in its order; no process went back
    for (const out of [a!, b!]) {
      const versions = out.trim().split('\n').map(Number)
      assert.ok(versions.length > 0 && versions.every((version) => version > 0), out)
      assert.ok(versions.every((version, i) => i === 0 || version >= versions[i - 1]!), out)
    }
    assert.equal((await publishersState({ folder: state }).read('list'))!.version, 12)
    const [name] = readdirSync(state)
    const numbers = readdirSync(join(state, name!)).filter((file) => file.endsWith('.json'))
      .map((file) => parseInt(file)).sort((x, y) => x - y)
    const stored = numbers.map((number) =>
      JSON.parse(readFileSync(join(state, name!, `${number}.json`), 'utf8')).version
    )
    assert.ok(stored.every((version, i) => i === 0 || version > stored[i - 1]), String(stored))
  },
)

test('replaceFile() refuses a file that changed, came or went, and links', async () => {
  const folder = fresh()
  mkdirSync(folder)
  const path = join(folder, 'list.json')
  const refuse = (expected: Uint8Array | undefined, code: string) =>
    assert.rejects(replaceFile(path, utf8('new'), expected), { code })
  await refuse(utf8('old'), 'publishers_conflict')
  assert.deepEqual(readdirSync(folder), [])
  await replaceFile(path, utf8('old'), undefined)
  await refuse(undefined, 'publishers_conflict')
  await refuse(utf8('older'), 'publishers_conflict')
  await refuse(new Uint8Array(), 'publishers_conflict')
  assert.equal(readFileSync(path, 'utf8'), 'old')
  await replaceFile(path, utf8('new'), utf8('old'))
  assert.equal(readFileSync(path, 'utf8'), 'new')
  assert.deepEqual(readdirSync(folder), ['list.json'])
  if (posix) {
    symlinkSync(path, join(folder, 'link'))
    await assert.rejects(replaceFile(join(folder, 'link'), utf8('x'), utf8('new')), {
      code: 'symlink_refused',
    })
  }
  await assert.rejects(replaceFile(folder, utf8('x'), undefined), { code: 'special_file_refused' })
  await assert.rejects(replaceFile(join(folder, 'no/such'), utf8('x'), undefined), {
    code: 'io_failed',
  })
})

test('replaceFile() lets one of many writers win', async () => {
  const path = fresh()
  writeFileSync(path, 'old')
  const outcomes = await Promise.allSettled(
    Array.from({ length: 10 }, (_, i) => replaceFile(path, utf8(`new ${i}`), utf8('old'))),
  )
  const won = outcomes.flatMap(({ status }, i) => status === 'fulfilled' ? [i] : [])
  assert.equal(won.length, 1)
  assert.equal(readFileSync(path, 'utf8'), `new ${won[0]}`)
})

test(
  'replaceFile() waits for another writer, and names what a crash left',
  { timeout: 20_000 },
  async () => {
    const path = fresh()
    writeFileSync(path, 'old')
    writeFileSync(`${path}.lock`, 'half')
    await assert.rejects(
      replaceFile(path, utf8('new'), utf8('old')),
      (error: { code: string; remedy: string }) =>
        error.code === 'publishers_conflict' && error.remedy.includes(`${path}.lock`),
    )
    setTimeout(() => rmSync(`${path}.lock`), 200)
    await replaceFile(path, utf8('new'), utf8('old'))
    assert.equal(readFileSync(path, 'utf8'), 'new')
  },
)
