/**
 * Minified size of "import and verify one bundle": what a page or worker loads at once, and what it loads
 * only when an algorithm, a runtime or a certificate asks for it.
 *
 *     deno run -A bench/size.ts [--json]
 */
import { gzipSync } from 'node:zlib'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { build, type Metafile, stop } from 'esbuild'

const ENTRY = `
  import { readPublicKeys, streamTree, trustKeys, verifyModel } from './mod.ts'
  globalThis.verify = async (pem, bundle, files) =>
    await verifyModel([{ name: 'seal', bytes: bundle }], streamTree(files), trustKeys(...await readPublicKeys(pem)))
`

const { outputFiles, metafile } = await build({
  stdin: {
    contents: ENTRY,
    resolveDir: fileURLToPath(new URL('..', import.meta.url)),
    loader: 'ts',
  },
  bundle: true,
  minify: true,
  splitting: true,
  format: 'esm',
  outdir: 'out',
  write: false,
  metafile: true,
  external: ['node:*'],
  plugins: [{
    // As the published package says of itself: importing a file does nothing but define.
    name: 'no side effects',
    setup: (build) =>
      void build.onResolve(
        { filter: /^\.\.?\// },
        ({ path, resolveDir }) =>
          resolveDir.includes('node_modules')
            ? undefined
            : { path: join(resolveDir, path), sideEffects: false },
      ),
  }],
})
await stop()

const size = new Map(
  outputFiles.map(({ path, contents }) => [path.replaceAll('\\', '/'), contents]),
)
const bytesOf = (name: string) => [...size].find(([path]) => path.endsWith('/' + name))![1]

/** An output and all that it imports before it runs. */
function closure(
  name: string,
  outputs: Metafile['outputs'],
  seen: Set<string> = new Set(),
): Set<string> {
  if (seen.has(name)) return seen
  seen.add(name)
  for (const { path, kind } of outputs[name]!.imports) {
    if (kind === 'import-statement' && path in outputs) closure(path, outputs, seen)
  }
  return seen
}

const entry =
  Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === '<stdin>')![0]
const now = closure(entry, metafile.outputs)
const row = (what: string, names: Iterable<string>) => {
  const parts = [...names].map(bytesOf)
  const sum = (weigh: (bytes: Uint8Array) => number) =>
    parts.reduce((all, one) => all + weigh(one), 0)
  return {
    what,
    minified: sum((bytes) => bytes.length),
    gzip: sum((bytes) => gzipSync(bytes).length),
  }
}
const rows = [row('import and verify one bundle', now)]
for (const [name, { entryPoint }] of Object.entries(metafile.outputs)) {
  if (entryPoint === undefined || now.has(name)) continue
  const more = [...closure(name, metafile.outputs)].filter((one) => !now.has(one))
  rows.push(row(`  only if asked for: ${entryPoint}`, more))
}
if (process.argv.includes('--json')) console.log(JSON.stringify(rows, null, 2))
else console.table(rows)
