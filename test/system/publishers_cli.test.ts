import assert from 'node:assert/strict'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import vectors from '../vectors/modelseal.json' with { type: 'json' }
import { inFolder, type Outcome, signet } from './_signet.ts'

const CLEAR = '--insecure-clear-key'

/** A folder whose state is its own, with key files for names. */
function stage(names: readonly string[], work: (folder: string) => unknown): Promise<void> {
  const before = process.env.XDG_STATE_HOME
  return inFolder(async (folder) => {
    process.env.XDG_STATE_HOME = join(folder, 'state')
    try {
      for (const name of names) {
        const args = ['--key', `${name}.pem`, '--keyset', `${name}.json`, '--name', name, CLEAR]
        ok(signet(folder, 'keys', 'new', ...args))
      }
      await work(folder)
    } finally {
      if (before === undefined) delete process.env.XDG_STATE_HOME
      else process.env.XDG_STATE_HOME = before
    }
  })
}

function ok(outcome: Outcome): Outcome {
  assert.equal(outcome.code, 0, outcome.err)
  return outcome
}

function refused(outcome: Outcome, exit: number, code: string): void {
  assert.match(outcome.err, new RegExp(`\\[${code}\\]`))
  assert.equal(outcome.code, exit, outcome.err)
}

const publishers = (folder: string, verb: string, ...more: string[]) =>
  signet(folder, 'publishers', verb, 'trust.json', ...more)
const edit = (folder: string, verb: string, ...more: string[]) =>
  publishers(folder, verb, ...more, '--key', 'owner.pem', CLEAR)
const listed = (folder: string) => JSON.parse(ok(publishers(folder, 'list', '--json')).out)

/** A model of two files. */
function model(folder: string): void {
  mkdirSync(join(folder, 'm/sub'), { recursive: true })
  writeFileSync(join(folder, 'm/weights.bin'), new Uint8Array(5000).fill(7))
  writeFileSync(join(folder, 'm/sub/vocab.txt'), 'a\nb\n')
}

test('model verify follows the rotations of a publisher, and says when it cannot', () =>
  stage(['owner', 'alice', 'mallory'], (folder) => {
    model(folder)
    ok(edit(folder, 'init', '--name', 'Acme models'))
    ok(edit(folder, 'add', 'Alice Ltd', 'alice.json'))
    const rotate = (who: string, key: string) =>
      ok(signet(folder, 'keys', 'rotate', '--keyset', `${who}.json`, '--key', key, CLEAR))
    rotate('alice', 'alice-2.pem')
    rotate('mallory', 'mallory-2.pem')
    ok(signet(folder, 'model', 'sign', 'm', '--key', 'alice-2.pem', CLEAR))
    const verify = (...more: string[]) =>
      signet(folder, 'model', 'verify', 'm', '--publishers', 'trust.json', ...more)
    refused(verify('--owner', 'owner.json'), 4, 'signer_untrusted')
    refused(verify('--rotations', 'mallory.json.rotations'), 4, 'signer_untrusted')
    refused(verify('--rotations', 'alice.json'), 2, 'rotation_malformed')
    assert.match(ok(verify('--rotations', 'alice.json.rotations')).out, /Alice Ltd/)
    const bare = ['--key', 'alice.pem', '--rotations', 'alice.json.rotations']
    refused(signet(folder, 'model', 'verify', 'm', ...bare), 1, 'usage_invalid')
  }))

test(
  'publishers: a list is made, grows, shrinks, and tells whom to trust',
  { timeout: 120_000 },
  () =>
    stage(['owner', 'alice', 'bob', 'mallory'], (folder) => {
      ok(edit(folder, 'init', '--name', 'Acme models', '--threshold', '2'))
      refused(edit(folder, 'init', '--name', 'again'), 1, 'file_exists')
      ok(edit(folder, 'add', 'Alice', 'alice.json'))
      ok(edit(folder, 'add', 'Bob', 'bob.pem'))
      refused(edit(folder, 'add', 'Eve', 'bob.pem'), 1, 'usage_invalid')
      refused(edit(folder, 'add', 'Eve'), 1, 'usage_invalid')
      // not by anybody else
      const forged = publishers(folder, 'add', 'M', 'mallory.json', '--key', 'mallory.pem', CLEAR)
      refused(forged, 1, 'usage_invalid')
      const before = listed(folder)
      assert.equal(before.version, 3)
      assert.deepEqual(before.publishers.map(({ name }: { name: string }) => name), [
        'Alice',
        'Bob',
      ])

      model(folder)
      const keys = ['--key', 'alice.pem', '--key', 'bob.pem', '--out', 'a.sig', '--out', 'b.sig']
      ok(signet(folder, 'model', 'sign', 'm', ...keys, CLEAR))
      const verify = (...signatures: string[]) =>
        signet(
          folder,
          'model',
          'verify',
          'm',
          '--publishers',
          'trust.json',
          ...signatures.flatMap((one) => ['--signature', one]),
        )
      const { out } = ok(verify('a.sig', 'b.sig'))
      assert.match(out, /sealed by Alice[^]*sealed by Bob[^]*VERIFIED/)
      refused(verify('a.sig'), 6, 'policy_denied')

      const bob = before.publishers[1].keys[0].id
      refused(edit(folder, 'revoke', '--id', 'nobody'), 7, 'key_not_found')
      ok(edit(folder, 'revoke', '--id', bob))
      refused(verify('a.sig', 'b.sig'), 4, 'key_revoked')
      assert.match(ok(publishers(folder, 'list')).out, /revoked/)
      assert.equal(existsSync(join(folder, 'trust.json.lock')), false)
    }),
)

test(
  'publishers: a rotated keyset is taken over, and what it revoked',
  { timeout: 120_000 },
  () =>
    stage(['owner', 'alice'], (folder) => {
      ok(edit(folder, 'init', '--name', 'x'))
      ok(edit(folder, 'add', 'Alice', 'alice.json'))
      const old = listed(folder).publishers[0].keys[0].id
      const rotate = ['keys', 'rotate', '--keyset', 'alice.json', '--key', 'alice-2.pem', CLEAR]
      ok(signet(folder, ...rotate))
      ok(signet(folder, 'keys', 'revoke', '--keyset', 'alice.json', '--id', old))
      ok(edit(folder, 'add', 'Alice', 'alice.json'))
      const [{ keys }] = listed(folder).publishers
      assert.deepEqual(keys.map(({ status }: { status: string }) => status), ['primary', 'revoked'])
      // an older copy of the keyset brings nothing back
      const keyset = JSON.parse(readFileSync(join(folder, 'alice.json'), 'utf8'))
      const back = keyset.keys.filter(({ kid }: { kid: string }) => kid === old)
        .map((key: object) => ({ ...key, status: 'primary', revoked_at: undefined }))
      writeFileSync(join(folder, 'old.json'), JSON.stringify({ name: 'alice', keys: back }))
      ok(edit(folder, 'add', 'Alice', 'old.json'))
      const [{ keys: after }] = listed(folder).publishers
      assert.equal(after.find(({ id }: { id: string }) => id === old).status, 'revoked')
    }),
)

test(
  'publishers: trust begins with an owner and never goes back',
  { timeout: 120_000 },
  () =>
    stage(['owner', 'alice', 'heir'], (folder) => {
      ok(edit(folder, 'init', '--name', 'x'))
      ok(edit(folder, 'add', 'Alice', 'alice.json'))
      const save = (name: string) => copyFileSync(join(folder, 'trust.json'), join(folder, name))
      const load = (name: string) => copyFileSync(join(folder, name), join(folder, 'trust.json'))
      save('two')
      rmSync(join(folder, 'state'), { recursive: true }) // another machine
      refused(publishers(folder, 'list'), 4, 'publishers_untrusted')
      assert.match(ok(publishers(folder, 'list', '--unverified')).out, /^NOT VERIFIED/)
      refused(publishers(folder, 'trust', '--owner', 'alice.json'), 4, 'publishers_untrusted')
      assert.match(
        ok(publishers(folder, 'trust', '--owner', 'owner.json')).out,
        /is trusted: x, version 2/,
      )
      ok(publishers(folder, 'list'))

      ok(edit(folder, 'renew', '--until', '2999-01-01'))
      load('two')
      refused(publishers(folder, 'list'), 4, 'publishers_rollback')
      refused(edit(folder, 'add', 'Bob', 'heir.json'), 4, 'publishers_rollback')
      refused(publishers(folder, 'trust', '--owner', 'owner.json'), 4, 'publishers_rollback')
      ok(publishers(folder, 'trust', '--owner', 'owner.json', '--insecure-forget-previous'))

      ok(edit(folder, 'rotate', '--to', 'heir.pem'))
      assert.deepEqual(
        listed(folder).owners.map(({ status }: { status: string }) => status),
        ['revoked', 'primary'],
      )
      refused(edit(folder, 'renew'), 1, 'usage_invalid')
      ok(publishers(folder, 'renew', '--key', 'heir.pem', CLEAR))
      appendFileSync(join(folder, 'trust.json'), 'x')
      refused(publishers(folder, 'list'), 2, 'publishers_malformed')
    }),
)

test(
  'publishers: an expired list is refused, and renewed by its owner',
  { timeout: 120_000 },
  () =>
    stage(['owner'], async (folder) => {
      const soon = new Date(Date.now() + 2500).toISOString()
      ok(edit(folder, 'init', '--name', 'x', '--until', soon))
      await new Promise((resolve) => setTimeout(resolve, 3000))
      refused(publishers(folder, 'list'), 4, 'publishers_expired')
      refused(edit(folder, 'renew', '--until', '2001-01-01'), 2, 'publishers_malformed')
      ok(edit(folder, 'renew', '--until', '2999-01-01'))
      ok(publishers(folder, 'list'))
    }),
)

test(
  'publishers: a registry of aumai-modelseal is imported once',
  { timeout: 120_000 },
  () =>
    stage(['owner'], (folder) => {
      writeFileSync(join(folder, 'registry.json'), vectors.registry)
      ok(edit(folder, 'init', '--name', 'x'))
      ok(edit(folder, 'import-registry', 'registry.json'))
      const names = listed(folder).publishers.map(({ name }: { name: string }) => name)
      assert.deepEqual(names, Object.keys(vectors.signed).map((name) => `Signer ${name}`))
      refused(edit(folder, 'import-registry', 'registry.json'), 1, 'usage_invalid')
    }),
)

/** The model of the vectors, as the old tool left it. */
function oldModel(folder: string): void {
  for (const [path, text] of Object.entries(vectors.files)) {
    mkdirSync(join(folder, 'm', path, '..'), { recursive: true })
    writeFileSync(join(folder, 'm', path), Uint8Array.from(atob(text), (c) => c.charCodeAt(0)))
  }
  writeFileSync(join(folder, 'm/signed_manifest.json'), vectors.signed.Ed25519.file)
  writeFileSync(join(folder, 'signer.pem'), vectors.signed.Ed25519.publicPem)
}

test('model migrate verifies the old seal, seals anew, and the new seal verifies', {
  timeout: 120_000,
}, () =>
  stage(['alice'], (folder) => {
    oldModel(folder)
    const migrate = (...more: string[]) => signet(folder, 'model', 'migrate', 'm', ...more)
    const seal = ['--signer', 'signer.pem', '--key', 'alice.pem', CLEAR]
    refused(migrate('--key', 'alice.pem'), 1, 'usage_invalid')
    refused(migrate('--signer', 'signer.pem'), 1, 'usage_invalid')
    refused(migrate('--signer', 'alice.json', '--dry-run'), 4, 'signer_untrusted')

    writeFileSync(join(folder, 'm/evil.py'), 'import os')
    const dry = migrate('--signer', 'signer.pem', '--dry-run')
    assert.equal(dry.code, 5)
    assert.match(dry.out, /extra +evil\.py[^]*NOT VERIFIED/)
    refused(migrate(...seal), 5, 'content_differs')
    assert.equal(existsSync(join(folder, 'm/model.sig')), false)
    rmSync(join(folder, 'm/evil.py'))

    const { out } = ok(migrate(...seal))
    assert.match(out, /alice@example\.com \(not verified\)/)
    refused(migrate(...seal), 1, 'file_exists')
    ok(signet(folder, 'model', 'verify', 'm', '--key', 'alice.json'))
    rmSync(join(folder, 'm/signed_manifest.json'))
    const verified = ok(signet(folder, 'model', 'verify', 'm', '--key', 'alice.json', '--json'))
    const { model } = JSON.parse(verified.out)
    assert.equal(model.name, 'tiny-é')
    assert.equal(model.metadata.created, '2025-01-02T03:04:05.120000Z')
  }))
