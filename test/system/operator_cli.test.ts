/** The operator's commands, against a real server, and against what only looks like one. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { request } from '../../src/cli/operator_http.ts'
import { isSignetError } from '../../src/errors.ts'
import { formatSyncHead } from '../../src/grants/mod.ts'
import {
  defaultHasher,
  exportRange,
  type Log,
  memoryLogStorage,
  openLog,
} from '../../src/log/mod.ts'
import { concat } from '../../src/bytes.ts'
import {
  asDevice,
  asOperator,
  bodyOf,
  device,
  granted,
  push,
  registered,
  signedForm,
} from '../core/_gateway.ts'
import { makeIssuer, type Served, startServer } from './_serve.ts'
import { inFolder, signet, signetBeside } from './_signet.ts'

const KEY = 'data/operator.key'
const FAKE = `sgop_${'A'.repeat(43)}`

/** A server, and commands as its operator. */
async function withOperator(
  work: (at: Served, folder: string, run: Run) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    makeIssuer(folder)
    const at = await startServer(folder)
    const given = ['--server', at.issuer, '--operator-key', KEY]
    try {
      await work(at, folder, {
        tell(...args) {
          const done = signet(folder, ...args, ...given, '--json')
          assert.equal(done.code, 0, `${args.join(' ')}: ${done.err}${done.out}`)
          return JSON.parse(done.out)
        },
        show(...args) {
          const done = signet(folder, ...args, ...given)
          assert.equal(done.code, 0, `${args.join(' ')}: ${done.err}${done.out}`)
          return done.out
        },
        fails(code, name, ...args) {
          const done = signet(folder, ...args, ...given)
          assert.equal(done.code, code, `${args.join(' ')}: ${done.err}${done.out}`)
          assert.ok(done.err.includes(name), done.err)
        },
      })
    } finally {
      await at.kill()
    }
  })
}

interface Run {
  // deno-lint-ignore no-explicit-any -- answers are looked into
  tell(...args: string[]): any
  show(...args: string[]): string
  fails(code: number, name: string, ...args: string[]): void
}

/** Something that listens, and commands against it. */
async function against(
  listener: RequestListener,
  work: (url: string, run: (...args: string[]) => ReturnType<typeof signetBeside>) => Promise<void>,
): Promise<void> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  try {
    await inFolder((folder) =>
      work(
        url,
        (...args) => signetBeside(folder, { SIGNET_OPERATOR_KEY: FAKE }, ...args, '--server', url),
      )
    )
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

test('operator: no key, a wrong one, one on the command line, and no TLS are refused before anything is sent', async () => {
  let asked = 0
  await against((_, answer) => {
    asked++
    answer.end('{}')
  }, async (url) => {
    await inFolder(async (folder) => {
      writeFileSync(join(folder, 'broken.key'), 'sgop_short\n')
      writeFileSync(join(folder, 'operator.key'), `${FAKE}\n`)
      const cases: readonly [number, string, string[], Record<string, string>?][] = [
        [1, 'key is missing', ['--server', url]],
        [1, 'holds no operator', ['--server', url, '--operator-key', 'broken.key']],
        [1, 'SIGNET_OPERATOR_KEY holds no', ['--server', url], { SIGNET_OPERATOR_KEY: 'x' }],
        [2, 'file_unreadable', ['--server', url, '--operator-key', 'none.key']],
        [1, 'command line', ['--server', url, '--operator-key', FAKE]],
        [1, 'without TLS', [
          '--server',
          'http://gateway.example',
          '--operator-key',
          'operator.key',
        ]],
        [1, 'without TLS', [
          '--server',
          'http://127.0.0.1.example',
          '--operator-key',
          'operator.key',
        ]],
        [1, 'without TLS', ['--server', 'ftp://127.0.0.1', '--operator-key', 'operator.key']],
        [1, 'no URL', [
          '--server',
          url.replace('//', '//user:pw@'),
          '--operator-key',
          'operator.key',
        ]],
        [1, 'no URL', ['--server', `${url}/admin`, '--operator-key', 'operator.key']],
        [1, 'no URL', ['--server', 'gateway.example', '--operator-key', 'operator.key']],
        [1, '--server', []],
      ]
      for (const [code, words, args, env = {}] of cases) {
        const done = await signetBeside(folder, env, 'agent', 'list', ...args)
        assert.equal(done.code, code, `${args.join(' ')}: ${done.err}`)
        assert.ok(done.err.includes(words), done.err)
        assert.equal((done.err + done.out).includes('AAAA'), false)
      }
      for (const id of ['..', 'a/b', '', 'a?b', '%2e%2e']) {
        const args = ['agent', 'show', id, '--server', url, '--operator-key', 'operator.key']
        assert.equal((await signetBeside(folder, {}, ...args)).code, 1, id)
      }
    })
  })
  assert.equal(asked, 0)
})

test('operator: what does not answer as a server of ours does is no answer', async () => {
  const page = { id: 'agent_1', name: 'A', status: 'active', redirect_uris: [], created_at: 0 }
  const leaks: unknown[] = []
  await against(
    (request, answer) => leaks.push(request.headers) && answer.end(),
    async (elsewhere) => {
      const answers: Readonly<Record<string, [string, RequestListener]>> = {
        html: ['no JSON', (_, answer) => answer.end('<html>')],
        empty: ['no JSON', (_, answer) => answer.end()],
        twice: ['no JSON', (_, answer) => answer.end('{"items":[],"items":[]}')],
        list: ['items', (_, answer) => answer.end('{"items":{}}')],
        odd: [
          'created_at',
          (_, answer) => answer.end(JSON.stringify({ items: [{ ...page, created_at: -1e300 }] })),
        ],
        endless: [
          'without an end',
          (_, answer) => answer.end(JSON.stringify({ items: [], next: 'x' })),
        ],
        error: ['HTTP 502', (_, answer) => answer.writeHead(502).end('{"code":"not_found"}')],
        problem: [
          'HTTP 400',
          (_, answer) =>
            answer.writeHead(400, { 'content-type': 'application/problem+json' }).end('['),
        ],
        redirect: [
          'elsewhere',
          (_, answer) => answer.writeHead(307, { location: `${elsewhere}/admin/agents` }).end(),
        ],
        cut: ['does not answer', (_, answer) => {
          answer.writeHead(200, { 'content-length': '1000' }).write('{')
          setTimeout(() => answer.destroy(), 50)
        }],
      }
      for (const [name, [words, listener]] of Object.entries(answers)) {
        await against(listener, async (_, run) => {
          const done = await run('agent', 'list', '--json')
          assert.equal(done.code, 2, `${name}: ${done.err}`)
          assert.ok(done.err.includes(words), `${name}: ${done.err}`)
          assert.equal(JSON.parse(done.out).error.code, 'server_failed', name)
        })
      }
    },
  )
  assert.deepEqual(leaks, [])
  // Nobody is there at all.
  await inFolder((folder) => {
    writeFileSync(join(folder, 'operator.key'), `${FAKE}\n`)
    const args = ['--server', 'http://127.0.0.1:9', '--operator-key', 'operator.key']
    const { code, err } = signet(folder, 'agent', 'list', ...args)
    assert.deepEqual([code, /does not answer \[server_failed\]/.test(err)], [2, true], err)
  })
})

test('operator: words of a server reach the terminal as text, and its errors as what they are', async () => {
  const tricky = '\x1b[2Jall is well\u202e'
  await against((request, answer) => {
    if (request.url?.includes('agents/')) {
      const body = { code: 'no_such_code', title: tricky, detail: tricky }
      return answer.writeHead(403, { 'content-type': 'application/problem+json' }).end(
        JSON.stringify(body),
      )
    }
    const agent = {
      id: 'agent_1',
      name: tricky,
      status: 'active',
      redirect_uris: [],
      created_at: 1e15,
      x: 1,
    }
    answer.end(JSON.stringify({ items: [agent] }))
  }, async (_, run) => {
    const listed = await run('agent', 'list')
    assert.equal(listed.code, 0, listed.err)
    const failed = await run('agent', 'show', 'agent_1')
    assert.equal(failed.code, 6)
    assert.ok(failed.err.includes('server_refused'))
    for (const said of [listed.out, failed.err]) {
      assert.ok(said.includes('\\u001b[2Jall is well\\u202e'), said)
      assert.equal(said.includes('\x1b') || said.includes('\u202e'), false)
    }
    assert.equal(JSON.parse((await run('agent', 'list', '--json')).out).items[0].x, 1)
  })
})

test('operator: lists are read page by page, as far as was asked for', async () => {
  const asked: (string | null)[] = []
  await against((request, answer) => {
    const { searchParams } = new URL(request.url!, 'http://x')
    const after = searchParams.get('after')
    asked.push(`${searchParams.get('limit')} after ${after}`)
    const from = Number(after ?? 0)
    const ids = Array.from({ length: Math.min(200, 450 - from) }, (_, i) => String(from + i + 1))
    const items = ids.map((id) => ({ id, bundle: 'b', kind: 'forked', at: 1 }))
    answer.end(JSON.stringify({ items, next: from + 200 < 450 ? ids.at(-1) : undefined }))
  }, async (_, run) => {
    const all = JSON.parse((await run('audit', 'findings', '--json')).out)
    assert.deepEqual([all.items.length, all.items[449].id, all.more], [450, '450', false])
    assert.deepEqual(asked, ['200 after null', '200 after 200', '200 after 400'])
    const some = await run('audit', 'findings', '--limit', '250')
    assert.equal(some.out.trim().split('\n').length, 251)
    assert.match(some.err, /there is more/)
  })
})

test('request() gives up a server that falls silent, and one that does not end', async () => {
  const ask = { method: 'GET', path: '/', maxBytes: 1000, patience: 200 }
  await against((_, answer) => void answer.writeHead(200).write('{'), async (url) => {
    await assert.rejects(
      request(url, FAKE, ask, undefined),
      (error) => isSignetError(error, 'server_failed'),
    )
    const stop = AbortSignal.timeout(50)
    await assert.rejects(request(url, FAKE, ask, stop), (error) => isSignetError(error, 'aborted'))
  })
  await against((_, answer) => {
    const timer = setInterval(() => answer.write('x'.repeat(500)), 10)
    answer.on('close', () => clearInterval(timer))
  }, async (url) => {
    await assert.rejects(
      request(url, FAKE, ask, undefined),
      (error) => isSignetError(error, 'too_large'),
    )
  })
})

test('operator: errors of a real server keep their code and exit code', () =>
  withOperator(async (at, folder, { fails }) => {
    fails(2, 'not_found', 'agent', 'show', 'agent_none')
    fails(2, 'not_found', 'agent', 'suspend', 'agent_none')
    fails(2, 'not_found', 'grant', 'revoke', 'grant_none')
    fails(2, 'not_found', 'grant', 'revoke', 'grant_none', '--yes')
    fails(2, 'not_found', 'bundle', 'revoke', 'bundle_none', '--yes')
    fails(2, 'not_found', 'audit', 'export', 'bundle_none', '--out', 'x.jsonl')
    fails(2, 'not_found', 'audit', 'verdicts', 'bundle_none')
    fails(
      2,
      'request_malformed',
      'agent',
      'register',
      '--name',
      'x',
      '--redirect',
      'http://x.example/',
    )
    fails(1, '--redirect', 'agent', 'register', '--name', 'x')
    fails(1, 'one of agent and parent', 'grant', 'list', '--agent', 'a', '--parent', 'b')
    assert.equal(existsSync(join(folder, 'x.jsonl')), false)
    writeFileSync(join(folder, 'other.key'), FAKE)
    const args = ['agent', 'list', '--server', at.issuer, '--operator-key', 'other.key']
    const { code, err } = signet(folder, ...args)
    assert.equal(code, 4, err)
    assert.match(err, /unauthenticated[^]*try: give this server's key/)

    // What belongs to a list here, and what to a server.
    for (
      const wrong of [
        ['--link', '0'],
        ['--suspend'],
        ['--list', 'list.jwt'],
        ['--key', 'issuer.pem'],
      ]
    ) fails(1, `${wrong[0]} does not go with --server`, 'grant', 'revoke', 'grant_1', ...wrong)
    for (const wrong of [['--yes'], ['--reason', 'x'], ['--operator-key', 'x']]) {
      const here = ['grant', 'revoke', 'x.txt', '--key', 'issuer.pem', '--list', 'l', ...wrong]
      const { code, err } = signet(folder, ...here)
      assert.equal(code, 1)
      assert.ok(err.includes(`${wrong[0]} goes with --server`), err)
    }
    assert.match(signet(folder, 'grant', 'revoke', 'x.txt').err, /needs --key and --list/)
    fails(1, 'give its id', 'grant', 'revoke')
    await at.kill()
    fails(2, 'server_failed', 'agent', 'list')
  }))

test('agent: register, list, show, suspend and resume', () =>
  withOperator(async (at, folder, { tell, show }) => {
    assert.equal(show('agent', 'list'), 'none\n')
    const made = tell(
      ...['agent', 'register', '--name', 'Robot', '--redirect', 'https://app.example/cb?x=1'],
      ...['--tool', 'calendar:read', '--tool', 'mail:send', '--description', 'Reads'],
    )
    assert.match(made.id, /^agent_/)
    assert.deepEqual(made.tools, ['calendar:read', 'mail:send'])
    // It is one, as far as others can tell.
    await push(at, made.id)
    for (let i = 0; i < 3; i++) await registered(at, { name: `More ${i}` })
    const listed = tell('agent', 'list')
    assert.deepEqual([listed.items.length, listed.more], [4, false])
    assert.deepEqual(tell('agent', 'list', '--limit', '2').items, listed.items.slice(0, 2))
    assert.equal(tell('agent', 'list', '--limit', '2').more, true)
    assert.match(
      show('agent', 'list'),
      /^ID +STATUS +NAME +TOOLS +REGISTERED\n(?:agent_.*\n)*agent_\S+ +active +Robot +calendar:read, mail:send +20/,
    )
    assert.deepEqual(tell('agent', 'show', made.id), made)
    assert.match(show('agent', 'show', made.id), /redirect +https:\/\/app\.example\/cb\?x=1/)
    assert.equal(tell('agent', 'suspend', made.id).status, 'suspended')
    await assert.rejects(push(at, made.id))
    assert.equal(tell('agent', 'show', made.id).status, 'suspended')
    assert.equal(tell('agent', 'resume', made.id).status, 'active')
    await push(at, made.id)
    // The key may stand in the environment.
    const operator = readFileSync(join(folder, KEY), 'utf8')
    const env = { SIGNET_OPERATOR_KEY: operator }
    const { code, err } = await signetBeside(
      folder,
      env,
      'agent',
      'list',
      '--server',
      `${at.issuer}/`,
    )
    assert.equal(code, 0, err)
  }))

test('grant and bundle: what a server gave is listed, and revoked only when it is said twice', () =>
  withOperator(async (at, _, { tell, show }) => {
    const [who, helper] = [await device(), await device()]
    const { agent, grant_id: root, bundle_id: bundle, access_token: token } = await granted(
      at,
      who,
      undefined,
      { max_depth: '1' },
    )
    const fields = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:aat',
      client_id: agent,
      req_cnf: helper.cnf,
      holder_cnf: who.cnf,
      scope: 'calendar:read',
      duration: '60',
    }
    const child = await bodyOf(await signedForm(at, who, '/oauth/token', fields))
    const other = await granted(at, await device())

    assert.equal(tell('grant', 'list').items.length, 3)
    assert.deepEqual(
      tell('grant', 'list', '--agent', agent).items.map((one: { id: string }) => one.id).sort(),
      [root, child.grant_id].sort(),
    )
    assert.equal(tell('grant', 'list', '--parent', root).items[0].id, child.grant_id)
    assert.equal(tell('grant', 'list', '--principal', 'nobody').items.length, 0)
    assert.match(
      show('grant', 'list', '--parent', root),
      new RegExp(`${child.grant_id} +active .*calendar:read .*${root}`),
    )
    assert.equal(tell('bundle', 'list', '--grant', root).items[0].id, bundle)
    assert.equal(tell('bundle', 'list', '--device-key', who.key.publicKey.id).items.length, 1)

    // Without --yes nothing happens.
    assert.match(
      show('grant', 'revoke', root),
      /would revoke grant_\S+ of agent_\S+ for alice \(calendar:read, mail:send\)[^]*say --yes/,
    )
    assert.equal(tell('grant', 'revoke', root).done, false)
    assert.equal(tell('bundle', 'revoke', other.bundle_id).done, false)
    assert.equal(
      (await bodyOf(await asOperator(at, 'GET', `/admin/grants/${root}`))).state,
      'active',
    )

    const done = tell('grant', 'revoke', root, '--yes', '--reason', 'lost')
    assert.deepEqual(
      [...done.revoked].sort(),
      [root, child.grant_id, bundle, child.bundle_id].sort(),
    )
    const listed = tell('grant', 'list', '--agent', agent).items
    assert.deepEqual(
      listed.map((one: { state: string; reason: string }) => [one.state, one.reason]),
      [
        ['revoked', 'lost'],
        ['revoked', 'lost'],
      ],
    )
    assert.match(show('grant', 'revoke', root, '--yes'), /nothing left to revoke/)
    const answer = await bodyOf(await asDevice(at, helper, 'GET', '/bundles'))
    assert.equal(answer.bundles[0].status.state, 'revoked')

    const text = show('bundle', 'revoke', other.bundle_id, '--yes', '--with-grant')
    assert.ok(
      text.includes(`${other.bundle_id} is revoked\nand with it\n  ${other.grant_id}\n`),
      text,
    )
    assert.equal(tell('grant', 'list', '--agent', other.agent).items[0].state, 'revoked')
  }))

async function message(log: Log): Promise<Uint8Array> {
  const head = await log.checkpoint()
  const parts: Uint8Array[] = []
  for await (const part of exportRange(log.view(), { start: 0, end: head.size }, head)) {
    parts.push(part)
  }
  return concat(
    formatSyncHead({ generation: 1, claimed: { size: 0, root: defaultHasher.empty } }),
    ...parts,
  )
}

test('audit: an export is the log of the device, and verifies without the server', () =>
  withOperator(async (at, folder, { tell, show, fails }) => {
    const who = await device()
    const { bundle_id: id } = await granted(at, who)
    fails(2, 'not_found', 'audit', 'export', id, '--out', 'robot.jsonl')
    const origin = `${new URL(at.issuer).host}/devices/${who.key.publicKey.id}`
    const log = await openLog(memoryLogStorage(), who.key, { origin })
    for (let i = 0; i < 5; i++) await log.append({ type: 'note', data: { i } })
    await log.append({ type: 'action.intent', data: { tool: 'not:granted', args: {} } })
    const sent = await asDevice(at, who, 'POST', `/bundles/${id}/sync`, await message(log))
    assert.equal(sent.status, 200, await sent.text())

    const { size } = await log.checkpoint()
    const done = tell('audit', 'export', id, '--out', 'robot.jsonl')
    assert.deepEqual(done, { file: 'robot.jsonl', entries: size, verified: false })
    if (process.platform !== 'win32') {
      assert.equal(statSync(join(folder, 'robot.jsonl')).mode & 0o777, 0o600)
    }
    fails(1, 'file_exists', 'audit', 'export', id, '--out', 'robot.jsonl')
    writeFileSync(join(folder, 'robot.jwk'), JSON.stringify(who.key.publicKey.jwk))
    const verify = [
      'log',
      'verify',
      'robot.jsonl',
      '--key',
      'robot.jwk',
      '--origin',
      origin,
      '--json',
    ]
    assert.equal(signet(folder, ...verify).code, 0, signet(folder, ...verify).err)
    const bytes = readFileSync(join(folder, 'robot.jsonl'), 'utf8')
    writeFileSync(join(folder, 'robot.jsonl'), bytes.replace('"i":3', '"i":4'))
    assert.notEqual(signet(folder, ...verify).code, 0)

    const { items } = tell('audit', 'verdicts', id)
    assert.ok(items.length >= 1, JSON.stringify(items))
    assert.match(show('audit', 'verdicts', id), /^ENTRY +CODE +RECEIVED\n\d+ +\w+ +20/)
    assert.equal(show('audit', 'findings'), 'none\n')
  }))

test('audit export writes nothing of an export that is not whole', async () => {
  const head = '{"format":"signet-log-range@v1","from":0,"to":2}'
  for (
    const body of ['', '{}\n', `${head}\n{}\n`, `${head}\n{}\n{}`, `${head}\n{}\n{}\n{}\n`, 'x\n']
  ) {
    await against((_, answer) => answer.end(body), async (_, run) => {
      const done = await run('audit', 'export', 'bundle_1', '--out', '/tmp/signet-none/x.jsonl')
      assert.deepEqual([done.code, /server_failed/.test(done.err)], [2, true], done.err)
    })
  }
})
