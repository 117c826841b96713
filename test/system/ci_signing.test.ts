/** The scripts of docs/ci-signing.md do what the page says, on a real model. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { lacking, MINISTACK, run } from './_emulators.ts'
import { hsmTest, PIN, softhsm } from './_softhsm.ts'
import { SIGNET } from './_signet.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The `run: |` blocks of the page that sign something. */
function scripts(): string[] {
  const page = readFileSync(join(root, 'docs/ci-signing.md'), 'utf8')
  const blocks = page.matchAll(/^( +)run: \|\n((?:\1 +.*\n)+)/gm)
  return [...blocks].map(([, , body]) => body!).filter((body) => body.includes('model sign'))
}

/** A runner: a folder with the model, and signet on the PATH. */
function inRunner(work: (folder: string, env: Record<string, string | undefined>) => void) {
  const folder = mkdtempSync(join(tmpdir(), 'signet-ci-'))
  try {
    const model = join(root, 'node_modules/@vladmandic/face-api/model')
    assert.ok(existsSync(model), 'the model of the demo is not installed')
    cpSync(model, join(folder, 'model'), { recursive: true })
    const program = join(folder, 'signet')
    writeFileSync(program, `#!/bin/sh\nexec ${SIGNET.join(' ')} "$@"\n`)
    chmodSync(program, 0o755)
    work(folder, { ...process.env, PATH: `${folder}:${process.env.PATH}`, NO_COLOR: '1' })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function runScript(script: string, cwd: string, env: Record<string, string | undefined>) {
  const options = { cwd, env, encoding: 'utf8', timeout: 60_000 } as const
  return spawnSync('sh', ['-ec', script], options)
}

const [kmsScript, tokenScript] = scripts() as [string, string]

test('the page has a script for KMS and one for a token', () => {
  assert.equal(scripts().length, 2)
})

hsmTest('the script for a token seals and verifies the model', () => {
  inRunner((folder, inherited) => {
    const config = join(folder, 'softhsm2.conf')
    // A folder of its own: SoftHSM takes every folder in there for a token, and writes into it.
    const tokens = join(folder, 'tokens')
    mkdirSync(tokens)
    writeFileSync(config, `directories.tokendir = ${tokens}\nobjectstore.backend = file\n`)
    const pin = join(folder, 'pin')
    writeFileSync(pin, PIN + '\n', { mode: 0o600 })
    const env = {
      ...inherited,
      SOFTHSM2_CONF: config,
      TOKEN: 'token=ci;object=models',
      MODULE: softhsm!,
      PIN_FILE: pin,
    }
    const init = `softhsm2-util --init-token --free --label ci --so-pin 12345678 --pin ${PIN}`
    const make = `signet keys new --key "pkcs11:$TOKEN?module-path=$MODULE&pin-source=$PIN_FILE"`
    const made = runScript(`${init}\n${make}`, folder, env)
    assert.equal(made.status, 0, made.stderr)
    const { status, stdout, stderr } = runScript(tokenScript, folder, env)
    assert.equal(status, 0, stderr)
    assert.match(stdout, /VERIFIED: 14 ok/)
  })
})

const skip = lacking(MINISTACK) ?? false
test('the script for KMS seals and verifies the model', { skip }, async () => {
  const { endpoint, stop } = await run(MINISTACK)
  try {
    inRunner((folder, inherited) => {
      const env = {
        ...inherited,
        AWS_ACCESS_KEY_ID: 'test',
        AWS_SECRET_ACCESS_KEY: 'test',
        AWS_REGION: 'eu-west-1',
        KEY: `${endpoint.replace('http:', 'awskms:')}/alias/models`,
      }
      const made = runScript('signet keys new --key "$KEY"', folder, env)
      assert.equal(made.status, 0, made.stderr)
      const { status, stdout, stderr } = runScript(kmsScript, folder, env)
      assert.equal(status, 0, stderr)
      assert.match(stdout, /VERIFIED: 14 ok/)
    })
  } finally {
    await stop()
  }
})
