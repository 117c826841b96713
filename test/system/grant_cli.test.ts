import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { inFolder, signet } from './_signet.ts'

// What a passphrase costs is tested with the keys.
const SECRET = ['--insecure-clear-key']
const ISSUER = 'https://auth.example.com'
const LIST = `${ISSUER}/status/1`

/** Runs what must succeed; gives its answer. */
function tell(folder: string, ...args: string[]) {
  const done = signet(folder, ...args, '--json')
  assert.equal(done.code, 0, `${args.join(' ')}: ${done.err}`)
  return JSON.parse(done.out)
}

function fails(folder: string, code: number, name: string, ...args: string[]): void {
  const done = signet(folder, ...args)
  assert.equal(done.code, code, `${args.join(' ')}: ${done.out}${done.err}`)
  assert.ok(`${done.err}${done.out}`.includes(name), done.err)
}

/** Keys of an issuer, an agent and a helper, and a grant of the first to the second. */
function begin(folder: string): void {
  for (const name of ['issuer', 'agent', 'helper']) {
    tell(folder, 'keys', 'new', '--key', `${name}.pem`, '--algorithm', 'Ed25519', ...SECRET)
    const shown = signet(folder, 'keys', 'show', '--key', `${name}.pem`, '--jwk')
    writeFileSync(join(folder, `${name}.jwk`), shown.out)
  }
  const tools = { read_file: { path: { constraint_type: 'one_of', values: ['/a', '/b'] } } }
  writeFileSync(join(folder, 'tools.json'), JSON.stringify(tools))
  tell(
    folder,
    'grant',
    'issue',
    '--key',
    'issuer.pem',
    ...SECRET,
    '--issuer',
    ISSUER,
    '--holder',
    'agent.jwk',
    '--scope',
    'calendar:read',
    '--capability',
    'tools.json',
    '--audience',
    'pi',
    '--lifetime',
    '1h',
    '--depth',
    '1',
    '--status-uri',
    LIST,
    '--status-index',
    '5',
    '--out',
    'grant.txt',
  )
}

const VERIFY = ['--key', 'issuer.jwk', '--issuer', ISSUER, '--audience', 'pi']
const narrow = (...more: string[]) => [
  'grant',
  'narrow',
  'grant.txt',
  '--key',
  'agent.pem',
  ...SECRET,
  '--holder',
  'helper.jwk',
  ...more,
]

test('grant: issue, narrow, verify, inspect and revoke agree', () =>
  inFolder((folder) => {
    begin(folder)
    const less = { read_file: { path: { constraint_type: 'exact', value: '/a' } } }
    writeFileSync(join(folder, 'less.json'), JSON.stringify(less))
    tell(folder, ...narrow('--capability', 'less.json', '--lifetime', '5m', '--out', 'less.txt'))
    assert.equal(readFileSync(join(folder, 'less.txt'), 'utf8').trim().split('\n').length, 2)

    const skip = ['grant', 'verify', 'less.txt', ...VERIFY, '--skip-revocation']
    const report = tell(folder, ...skip, '--tool', 'read_file', '--args', '{"path":"/a"}')
    assert.deepEqual([report.ok, report.depth, report.tools, report.call.allowed], [true, 1, [
      'read_file',
    ], true])
    fails(folder, 6, 'argument_denied', ...skip, '--tool', 'read_file', '--args', '{"path":"/b"}')
    fails(folder, 6, 'tool_denied', ...skip, '--tool', 'calendar:read')
    fails(folder, 6, 'grant_audience', 'grant', 'verify', 'less.txt', ...VERIFY.slice(0, 4))
    fails(folder, 6, 'grant_expired', ...skip, '--at', '2100-01-01')
    fails(
      folder,
      4,
      'signer_untrusted',
      'grant',
      'verify',
      'less.txt',
      '--key',
      'agent.jwk',
      '--issuer',
      ISSUER,
    )
    fails(
      folder,
      4,
      'signer_untrusted',
      'grant',
      'verify',
      'less.txt',
      '--key',
      'issuer.jwk',
      '--issuer',
      `${ISSUER}/x`,
    )
    assert.equal(tell(folder, 'grant', 'inspect', 'less.txt').tokens[1].claims.del_depth, 1)

    // Nobody knows whether it was taken back, then somebody does.
    const verify = ['grant', 'verify', 'less.txt', ...VERIFY]
    fails(folder, 6, 'unknown', ...verify)
    const revoke = ['grant', 'revoke', '--key', 'issuer.pem', ...SECRET, '--list', 'list.jwt']
    tell(folder, ...revoke, '--index', '3', '--create', '1000', '--uri', LIST)
    assert.equal(tell(folder, ...verify, '--status-list', 'list.jwt').ok, true)
    tell(folder, ...revoke, 'less.txt')
    fails(folder, 6, 'invalid', ...verify, '--status-list', 'list.jwt')
    fails(
      folder,
      6,
      'invalid',
      'grant',
      'verify',
      'grant.txt',
      ...VERIFY,
      '--status-list',
      'list.jwt',
    )
    fails(folder, 1, 'cannot be taken back', ...revoke, 'less.txt', '--link', '1')
    fails(folder, 4, 'signer_untrusted', ...revoke.with(3, 'agent.pem'), 'less.txt')
  }))

test('grant: what would be too much is not signed, and nothing is overwritten', () =>
  inFolder((folder) => {
    begin(folder)
    fails(folder, 6, 'grant_widened', ...narrow('--scope', 'mail:send', '--out', 'x.txt'))
    fails(folder, 6, 'grant_widened', ...narrow('--audience', 'other', '--out', 'x.txt'))
    fails(folder, 2, 'scope_malformed', ...narrow('--scope', 'calendar:*', '--out', 'x.txt'))
    fails(folder, 3, 'grant_unlinked', ...narrow('--out', 'x.txt').with(4, 'helper.pem'))
    fails(folder, 1, 'lifetime', ...narrow('--lifetime', 'soon', '--out', 'x.txt'))
    assert.equal(existsSync(join(folder, 'x.txt')), false)
    const before = readFileSync(join(folder, 'grant.txt'), 'utf8')
    fails(folder, 1, 'file_exists', ...narrow('--out', 'grant.txt'))
    assert.equal(readFileSync(join(folder, 'grant.txt'), 'utf8'), before)
    writeFileSync(join(folder, 'broken.txt'), `${before}x`)
    fails(folder, 2, 'token_malformed', 'grant', 'verify', 'broken.txt', ...VERIFY)
    writeFileSync(join(folder, 'empty.txt'), '')
    fails(folder, 2, 'grant_malformed', 'grant', 'verify', 'empty.txt', ...VERIFY)
  }))
