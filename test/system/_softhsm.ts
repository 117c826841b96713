/**
 * SoftHSM for tests: tokens of their own in a temporary folder, made in this process. Absent components skip
 * a test with the reason, and fail it if `CI=true`.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Buffer } from 'node:buffer'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'

const MODULES = [
  process.env.SIGNET_SOFTHSM,
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
]

/** The PKCS#11 library of SoftHSM, if it is installed. */
export const softhsm: string | undefined = MODULES.find((path) =>
  path !== undefined && existsSync(path)
)

/** Why tests with a token cannot run, or undefined. */
export const absent: string | undefined = softhsm === undefined
  ? 'SoftHSM is not installed (apt-get install softhsm2)'
  : addonFault()

/** A test that needs a token. */
export function hsmTest(name: string, fn: () => unknown): void {
  if (absent !== undefined && process.env.CI !== 'true') test(name, { skip: absent }, () => {})
  else {
    test(name, async () => {
      if (absent !== undefined) throw new Error(absent)
      await fn()
    })
  }
}

/** The PINs of all test tokens. */
export const PIN = 'pin-4711'
/** The security officer's. */
export const SO_PIN = 'officer-0815'

let folder: string | undefined

/** Makes a token and says where it is: the part of a URI that names token and module. */
export function makeToken(label: string): { token: string; module: string; pinFile: string } {
  prepare()
  const { PKCS11 } = addon()
  const module = new PKCS11()
  module.load(softhsm!)
  try {
    module.C_Initialize({ flags: 2 })
  } catch (error) {
    if (!String(error).includes('ALREADY_INITIALIZED')) throw error
  }
  const slots = module.C_GetSlotList(true)
  const free = slots.find((slot) => (module.C_GetTokenInfo(slot).flags & 0x400) === 0)!
  module.C_InitToken(free, SO_PIN, label.padEnd(32))
  const session = module.C_OpenSession(free, 6)
  module.C_Login(session, 0, SO_PIN)
  module.C_InitPIN(session, PIN)
  module.C_CloseSession(session)
  return {
    token: `token=${encodeURIComponent(label)}`,
    module: `module-path=${encodeURIComponent(softhsm!)}`,
    pinFile: join(folder!, 'pin'),
  }
}

/** Sets up the folder of tokens, once per process. */
function prepare(): void {
  if (folder !== undefined) return
  const made = folder = mkdtempSync(join(tmpdir(), 'signet-hsm-'))
  writeFileSync(join(made, 'pin'), PIN + '\n', { mode: 0o600 })
  const config = join(made, 'softhsm2.conf')
  writeFileSync(config, `directories.tokendir = ${made}\nobjectstore.backend = file\n`)
  setenv('SOFTHSM2_CONF', config)
  process.on('exit', () => rmSync(made, { recursive: true, force: true }))
}

/** SoftHSM asks the C library; Bun's `process.env` does not reach that. */
function setenv(name: string, value: string): void {
  process.env[name] = value
  if (!('Bun' in globalThis)) return
  const { dlopen } = createRequire(import.meta.url)('bun:ffi')
  const { symbols } = dlopen('libc.so.6', {
    setenv: { args: ['cstring', 'cstring', 'int'], returns: 'int' },
  })
  symbols.setenv(Buffer.from(name + '\0'), Buffer.from(value + '\0'), 1)
}

interface Setup {
  load(path: string): void
  C_Initialize(options: { flags: number }): void
  C_GetSlotList(present: boolean): Uint8Array[]
  C_GetTokenInfo(slot: Uint8Array): { flags: number }
  C_InitToken(slot: Uint8Array, pin: string, label: string): void
  C_OpenSession(slot: Uint8Array, flags: number): Uint8Array
  C_CloseSession(session: Uint8Array): void
  C_Login(session: Uint8Array, user: number, pin: string): void
  C_InitPIN(session: Uint8Array, pin: string): void
}

function addon(): { PKCS11: new () => Setup } {
  return createRequire(import.meta.url)('pkcs11js')
}

function addonFault(): string | undefined {
  try {
    addon()
  } catch {
    return 'the addon pkcs11js is not built (deno task native)'
  }
}
