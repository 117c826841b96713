/** The rules of the house that no type checker knows: which room may import which, and from where. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative, sep } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Rooms and single files of `src`, each on its floor. A door opens to a lower floor only. */
const FLOORS: readonly (readonly string[])[] = [
  ['errors', 'bytes', 'json', 'schema', 'algorithms'],
  ['crypto'],
  ['keys'],
  ['certificates'],
  ['envelope'],
  ['log'],
  ['models', 'grants', 'identity'],
  ['packages', 'handoff', 'trust'],
  ['interop'],
  ['gateway'],
  ['cli'],
]
/** The bottom floor is a staircase of its own. */
const BOTTOM = FLOORS[0] ?? []

interface Import {
  readonly from: string
  readonly to: string
}

function files(folder: string): string[] {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => posix.join(folder, name.split(sep).join('/')))
}

/** Every import of a file: static, `export … from` and dynamic. Relative ones become paths from the root. */
function imports(from: string): Import[] {
  const text = readFileSync(join(root, from), 'utf8')
    .replace(/\/\*[^]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '')
  const found = text.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*['"]([^'"]+)['"]/g)
  return [...found].map(([, specifier = '']) => {
    const to = specifier.startsWith('.')
      ? relative(root, join(root, dirname(from), specifier)).split(sep).join('/')
      : specifier
    return { from, to }
  })
}

const room = (path: string) => /^src\/([^/.]+)/.exec(path)?.[1] ?? ''
const floor = (path: string) => FLOORS.findIndex((rooms) => rooms.includes(room(path)))
const say = ({ from, to }: Import) => `${from} imports ${to}`
const src = files('src').flatMap(imports)
const portable = src.filter(({ from }) => room(from) !== 'cli')

test('the reader of imports sees them all', () => {
  const of = imports('test/workerd.ts').map(({ to }) => to)
  assert.ok(of.includes('node:child_process') && of.includes('esbuild') && of.includes('workerd'))
  assert.ok(imports('mod.ts').some(({ to }) => to === 'src/errors.ts'))
  assert.ok(src.length > 3)
})

test('src outside the command line imports no runtime built-in and nothing by URL', () => {
  const wrong = portable.filter(({ to }) =>
    /^(?:node|bun|deno|npm|jsr|https?|file|data|cloudflare):/.test(to)
  )
  assert.deepEqual(wrong.map(say), [])
})

test('src never imports a backend, a test or the front doors', () => {
  const wrong = src.filter(({ from, to }) => {
    if (!/^[^:]*\.ts$/.test(to) || to.startsWith('src/')) return false
    return room(from) !== 'cli' || !to.startsWith('backends/')
  })
  assert.deepEqual(wrong.map(say), [])
})

test('every room of src stands on a floor', () => {
  const lost = files('src').filter((path) => floor(path) < 0)
  assert.deepEqual(lost, [])
})

test('doors open downward only', () => {
  const wrong = src.filter(({ from, to }) => {
    if (!to.startsWith('src/') || room(from) === room(to)) return false
    const sameFloor = floor(from) === floor(to)
    return floor(to) > floor(from) || sameFloor && !BOTTOM.includes(room(from))
  })
  assert.deepEqual(wrong.map(say), [])
})

test('nobody imports past the mod.ts of a room', () => {
  const outside = [...src, ...files('backends').flatMap(imports), ...imports('mod.ts')]
  const wrong = outside.filter(({ from, to }) =>
    /^src\/[^/]+\/./.test(to) && !to.endsWith('/mod.ts') && room(from) !== room(to)
  )
  assert.deepEqual(wrong.map(say), [])
})

test('every entry point is in the documentation check', () => {
  const { exports, tasks } = JSON.parse(readFileSync(join(root, 'deno.json'), 'utf8'))
  const linted = /deno doc --lint ([^&]*)/.exec(tasks.check)?.[1]?.trim().split(/\s+/) ?? []
  const missing = Object.values<string>(exports).map((path) => path.replace(/^\.\//, ''))
    .filter((path) => !linted.includes(path))
  assert.deepEqual(missing, [])
})
