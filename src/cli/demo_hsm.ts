/** `signet demo hsm`: a model sealed by a token, by a KMS and by a composite of both, and what goes wrong with such. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { SignetError } from '../errors.ts'
import type { Run } from './context.ts'
import { type DemoKms, startKms } from './demo_kms.ts'
import { inDemoHome } from './demo_home.ts'
import { modelOfDemo } from './demo_seal.ts'
import { stage } from './demo_stage.ts'

const MODULES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
  '/opt/homebrew/lib/softhsm/libsofthsm2.so',
]
/** What SoftHSM and the SDK read from the environment. */
const ENVIRONMENT = ['SOFTHSM2_CONF', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_REGION']

/** Runs the demo; 0 only if everything worked and everything wrong was refused. */
export async function demoHsm(
  run: Run,
  flags: { readonly model?: string; readonly keep?: boolean },
): Promise<number> {
  const source = flags.model && resolve(flags.model)
  const before = ENVIRONMENT.map((name) => [name, process.env[name]] as const)
  let kms: DemoKms | undefined
  try {
    return await inDemoHome(run, flags, async (home) => {
      cpSync(source ?? modelOfDemo(home), 'model', { recursive: true })
      makeToken(home)
      kms = await startKms()
      process.env.AWS_ACCESS_KEY_ID = process.env.AWS_SECRET_ACCESS_KEY = 'demo'
      process.env.AWS_REGION = 'eu-west-1'
      return await play(run, kms)
    })
  } finally {
    kms?.close()
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}

async function play(run: Run, kms: DemoKms): Promise<number> {
  const { scene, command, end } = stage(run)
  const inToken = (object: string, pin = 'pin') =>
    `pkcs11:token=ci;object=${object}?module-path=${modulePath()}&pin-source=${pin}`
  const inKms = (alias: string) => `awskms://${kms.host}/alias/${alias}`
  const wrapped = `wrapped:file=pq.json;kek=${encodeURIComponent(inToken('kek'))}`
  const composite = `composite:ml-dsa=${encodeURIComponent(wrapped)}` +
    `;ed25519=${encodeURIComponent(inKms('ed'))}`
  const make = (key: string, name: string, algorithm: string) => [
    ...['keys', 'new', '--key', key, '--algorithm', algorithm],
    ...['--keyset', `${name}.keys.json`, '--name', name],
  ]
  const sign = (
    key: string,
    out: string,
  ) => ['model', 'sign', 'model', '--key', key, '--out', out, '--force']
  const verify = (
    name: string,
    out: string,
  ) => ['model', 'verify', 'model', '--key', `${name}.keys.json`, '--signature', out]

  scene('A key is made in the token, and one in KMS. Neither private half ever leaves.')
  await command(make(inToken('models'), 'token', 'ES256'), 0, 'P-256 in the token')
  await command(make(inKms('models'), 'kms', 'ES256'), 0, 'P-256 in KMS')

  scene('The model is sealed by each, and verified with nothing but the public halves.')
  await command(sign(inToken('models'), 'token.sig'), 0, 'the token gets 32 bytes to sign')
  await command(sign(inKms('models'), 'kms.sig'), 0, 'and so does KMS')
  await command(verify('token', 'token.sig'), 0, 'the seal of the token holds')
  await command(verify('kms', 'kms.sig'), 0, 'the seal of KMS holds')
  await command(verify('kms', 'token.sig'), 4, 'but the one is not the other')

  scene('A composite over both: Ed25519 in KMS, ML-DSA-65 wrapped by a key of the token.')
  await command(['keys', 'kek', '--key', inToken('kek')], 0, 'AES in the token, to wrap keys with')
  await command(make(composite, 'both', 'ML-DSA-65-Ed25519'), 0, 'neither store knows composites')
  await command(sign(composite, 'both.sig'), 0, 'one signature, two stores')
  await command(verify('both', 'both.sig'), 0, 'which verifies like any other')

  scene('A wrong PIN is refused, and sent to no token twice: tokens lock.')
  writeFileSync('guess', '0000\n', { mode: 0o600 })
  await command(sign(inToken('models', 'guess'), 'no.sig'), 2, 'refused')
  await command(sign(inToken('absent'), 'no.sig'), 7, 'as is a key that is not there')

  scene('KMS is throttled.')
  kms.throttle(3)
  await command(sign(inKms('models'), 'kms.sig'), 0, 'three refusals are waited for')
  kms.throttle(1000)
  await command(sign(inKms('models'), 'no.sig'), 7, 'for ever is too long')
  kms.throttle(0)
  await command(verify('kms', 'kms.sig'), 0, 'and verifying never needed KMS')
  return end()
}

function modulePath(): string {
  const found = MODULES.find((path) => existsSync(path))
  if (found !== undefined) return found
  throw new SignetError('key_backend_unavailable', 'SoftHSM is not installed', {
    remedy: 'apt-get install softhsm2',
  })
}

/** A token of the demo's own, in its folder. */
function makeToken(home: string): void {
  modulePath()
  const config = join(home, 'softhsm2.conf')
  // A folder of its own: SoftHSM takes every folder in there for a token, and writes into it.
  const tokens = join(home, 'tokens')
  mkdirSync(tokens)
  writeFileSync(config, `directories.tokendir = ${tokens}\nobjectstore.backend = file\n`)
  writeFileSync('pin', '4711\n', { mode: 0o600 })
  process.env.SOFTHSM2_CONF = config
  const args = ['--init-token', '--free', '--label', 'ci', '--so-pin', '12345678', '--pin', '4711']
  const { status } = spawnSync('softhsm2-util', args, { stdio: 'ignore', env: process.env })
  if (status !== 0) throw new SignetError('key_backend_unavailable', 'softhsm2-util failed')
}
