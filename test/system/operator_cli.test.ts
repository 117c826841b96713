/** The operator's commands, against a real server, and against what only looks like one. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import * as v from 'valibot'
import { concat, utf8 } from '../../src/bytes.ts'
import type { Run as CliRun } from '../../src/cli/context.ts'
import { idOf, operatorOf } from '../../src/cli/operator.ts'
import { request } from '../../src/cli/operator_http.ts'
import { time } from '../../src/cli/operator_text.ts'
import { type ErrorCode, isSignetError, SignetError } from '../../src/errors.ts'
import { formatSyncHead } from '../../src/grants/mod.ts'
import {
  defaultHasher,
  exportRange,
  type Log,
  memoryLogStorage,
  openLog,
} from '../../src/log/mod.ts'
import {
  asDevice,
  asOperator,
  bodyOf,
  device,
  granted,
  postForm,
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
      // Not blocking: meanwhile the connections of this process to the server may end, and it must notice.
      const run = (...args: string[]) => signetBeside(folder, {}, ...args, ...given)
      const good = async (...args: string[]) => {
        const done = await run(...args)
        assert.equal(done.code, 0, `${args.join(' ')}: ${done.err}${done.out}`)
        return done.out
      }
      await work(at, folder, {
        tell: async (...args) => JSON.parse(await good(...args, '--json')),
        show: good,
        async fails(code, name, ...args) {
          const done = await run(...args)
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
  tell(...args: string[]): Promise<any>
  show(...args: string[]): Promise<string>
  fails(code: number, name: string, ...args: string[]): Promise<void>
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

/** A server as the commands see it, in this process. Its key is in `operator.key`. */
function operator(server: string, operatorKey: string | undefined = 'operator.key') {
  const files: Readonly<Record<string, string>> = {
    'operator.key': `${FAKE}\n`,
    'broken.key': 'sgop_short',
  }
  // deno-lint-ignore require-await -- the port is asynchronous
  const readFile = async (name: string) => {
    const text = files[name]
    if (text === undefined) throw new SignetError('file_unreadable', `there is no ${name}`)
    return utf8(text)
  }
  const run = { backends: { readFile } } as unknown as CliRun
  return operatorOf(run, { server, ...operatorKey === '' ? {} : { operatorKey } })
}

const refusedAs = (code: ErrorCode, words: string) => (error: unknown) => {
  assert.ok(isSignetError(error, code), `${words}: ${error}`)
  const said = `${error.message} ${error.remedy}`
  assert.ok(said.includes(words), said)
  assert.equal(said.includes('AAAA'), false)
  return true
}

test('operator: no key, a wrong one, one on the command line, and no TLS are refused', async () => {
  const url = 'http://127.0.0.1:9'
  const cases: readonly [ErrorCode, string, string, string?][] = [
    ['usage_invalid', 'key is missing', url, ''],
    ['usage_invalid', "broken.key holds no operator's key", url, 'broken.key'],
    ['file_unreadable', 'none.key', url, 'none.key'],
    ['usage_invalid', 'command line', url, FAKE],
    ['usage_invalid', 'without TLS', 'http://gateway.example'],
    ['usage_invalid', 'without TLS', 'http://127.0.0.1.example'],
    ['usage_invalid', 'without TLS', 'http://localhost.example'],
    ['usage_invalid', 'without TLS', 'ftp://127.0.0.1'],
    ['usage_invalid', 'no URL', 'http://user:pw@127.0.0.1'],
    ['usage_invalid', 'no URL', 'https://gateway.example/admin'],
    ['usage_invalid', 'no URL', 'https://gateway.example?x'],
    ['usage_invalid', 'no URL', 'gateway.example'],
    ['usage_invalid', 'no URL', 'localhost:8787'],
  ]
  for (const [code, words, server, key] of cases) {
    await assert.rejects(operator(server, key), refusedAs(code, words))
  }
  assert.equal((await operator('https://GATEWAY.example/')).server, 'https://gateway.example')
  for (const id of ['..', 'a/b', '', 'a?b', '%2e%2e', 'a b', 'x'.repeat(201)]) {
    assert.throws(() => idOf(id), refusedAs('usage_invalid', 'no id'), id)
  }
  // The same by a process: in the environment a key may stand, if it is one.
  await inFolder(async (folder) => {
    const list = ['agent', 'list', '--server', url]
    const { code, err } = await signetBeside(folder, { SIGNET_OPERATOR_KEY: 'x' }, ...list)
    assert.deepEqual([code, err.includes('SIGNET_OPERATOR_KEY holds no')], [1, true], err)
    const typed = await signetBeside(folder, {}, ...list, '--operator-key', FAKE)
    assert.deepEqual([typed.code, typed.err.includes('AAAA')], [1, false], typed.err)
  })
})

test('operator: what does not answer as a server of ours does is no answer', async () => {
  const page = { id: 'agent_1', name: 'A', status: 'active', redirect_uris: [], created_at: 0 }
  const schema = v.object({ id: v.string(), created_at: time })
  const problem = { 'content-type': 'application/problem+json' }
  let followed = 0
  await against((_, answer) => {
    followed++
    answer.end('{"items":[]}')
  }, async (elsewhere) => {
    const location = `${elsewhere}/admin/agents`
    const items = [{ ...page, created_at: -1e300 }]
    const answers: readonly [string, RequestListener][] = [
      ['no JSON', (_, answer) => answer.end('<html>')],
      ['no JSON', (_, answer) => answer.end()],
      ['no JSON', (_, answer) => answer.end('{"items":[],"items":[]}')],
      ['items', (_, answer) => answer.end('{"items":{}}')],
      ['created_at', (_, answer) => answer.end(JSON.stringify({ items }))],
      ['without an end', (_, answer) => answer.end('{"items":[],"next":"x"}')],
      ['HTTP 502', (_, answer) => answer.writeHead(502).end('{"code":"not_found"}')],
      ['HTTP 400', (_, answer) => answer.writeHead(400, problem).end('[')],
      ['elsewhere', (_, answer) => answer.writeHead(307, { location }).end()],
      ['does not answer', (_, answer) => {
        answer.writeHead(200, { 'content-length': '1000' }).write('{')
        setTimeout(() => answer.destroy(), 50)
      }],
    ]
    for (const [words, listener] of answers) {
      await against(listener, async (url) => {
        const listed = (await operator(url)).list('/admin/agents', schema, 10)
        await assert.rejects(listed, refusedAs('server_failed', words))
      })
    }
  })
  assert.equal(followed, 0)
  await against((_, answer) => answer.end('<html>'), async (url, run) => {
    const done = await run('agent', 'list', '--json')
    assert.deepEqual([done.code, JSON.parse(done.out).error.code], [2, 'server_failed'])
    assert.ok(done.err.includes(`${url} answers with something that is no JSON`), done.err)
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
  const items = Array.from({ length: 300_000 }, (_, i) => i)
  await against((_, answer) => void answer.end(JSON.stringify({ items })), async (url) => {
    const listed = await (await operator(url)).list('/x', v.number(), 300_000)
    assert.equal(listed.items.length, 300_000)
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
    await fails(2, 'not_found', 'agent', 'suspend', 'agent_none')
    await fails(2, 'not_found', 'grant', 'revoke', 'grant_none')
    await fails(2, 'not_found', 'grant', 'revoke', 'grant_none', '--yes')
    await fails(2, 'not_found', 'audit', 'export', 'bundle_none', '--out', 'x.jsonl')
    const bad = ['--name', 'x', '--redirect', 'http://x.example/']
    await fails(2, 'request_malformed', 'agent', 'register', ...bad)
    await fails(1, 'one of agent and parent', 'grant', 'list', '--agent', 'a', '--parent', 'b')
    assert.equal(existsSync(join(folder, 'x.jsonl')), false)
    writeFileSync(join(folder, 'other.key'), FAKE)
    const args = ['agent', 'list', '--server', at.issuer, '--operator-key', 'other.key']
    const { code, err } = signet(folder, ...args)
    assert.equal(code, 4, err)
    assert.match(err, /unauthenticated[^]*try: give this server's key/)

    // What belongs to a list here, and what to a server.
    await fails(1, '--link does not go with --server', 'grant', 'revoke', 'grant_1', '--link', '0')
    const here = ['grant', 'revoke', 'x.txt', '--key', 'issuer.pem', '--list', 'l', '--yes']
    assert.match(signet(folder, ...here).err, /--yes goes with --server \[usage_invalid\]/)
    assert.match(signet(folder, 'grant', 'revoke', 'x.txt').err, /needs --key and --list/)
    await fails(1, 'give its id', 'grant', 'revoke')
    await at.kill()
    await fails(2, 'server_failed', 'agent', 'list')
  }))

test('agent: register, list, show, suspend and resume', () =>
  withOperator(async (at, folder, { tell, show }) => {
    assert.equal(await show('agent', 'list'), 'none\n')
    const made = await tell(
      ...['agent', 'register', '--name', 'Robot', '--redirect', 'https://app.example/cb?x=1'],
      ...['--tool', 'calendar:read', '--tool', 'mail:send', '--description', 'Reads'],
    )
    assert.match(made.id, /^agent_/)
    assert.deepEqual(made.tools, ['calendar:read', 'mail:send'])
    // It is one, as far as others can tell.
    await push(at, made.id)
    for (let i = 0; i < 3; i++) await registered(at, { name: `More ${i}` })
    const listed = await tell('agent', 'list')
    assert.deepEqual([listed.items.length, listed.more], [4, false])
    assert.deepEqual((await tell('agent', 'list', '--limit', '2')).items, listed.items.slice(0, 2))
    assert.equal((await tell('agent', 'list', '--limit', '2')).more, true)
    assert.match(
      await show('agent', 'list'),
      /^ID +STATUS +NAME +TOOLS +REGISTERED +TAKES FROM\n(?:agent_.*\n)*agent_\S+ +active +Robot +calendar:read, mail:send +20/,
    )
    assert.deepEqual(await tell('agent', 'show', made.id), made)
    assert.match(await show('agent', 'show', made.id), /redirect +https:\/\/app\.example\/cb\?x=1/)
    assert.equal((await tell('agent', 'suspend', made.id)).status, 'suspended')
    await assert.rejects(push(at, made.id))
    assert.equal((await tell('agent', 'show', made.id)).status, 'suspended')
    assert.equal((await tell('agent', 'resume', made.id)).status, 'active')
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

test('agent register and update refuse agents that are not there, and an update of nothing', () =>
  withOperator(async (_, __, { tell, show, fails }) => {
    const register = ['agent', 'register', '--name', 'Helper', '--redirect', 'https://app.example/']
    await fails(2, 'request_malformed', ...register, '--takes-from', 'agent_none')
    const [root, other] = [await tell(...register), await tell(...register)]
    assert.deepEqual(root.takes_from, [])
    const update = ['agent', 'update', root.id]
    await fails(1, 'usage_invalid', ...update)
    await fails(1, 'usage_invalid', ...update, '--takes-from', other.id, '--takes-from-nobody')
    await fails(1, 'no id', 'agent', 'update', 'a/b', '--takes-from-nobody')
    await fails(2, 'not_found', 'agent', 'update', 'agent_none', '--takes-from-nobody')
    await fails(2, 'request_malformed', ...update, '--takes-from', other.id, '--takes-from', '*')
    assert.deepEqual(await tell('agent', 'show', root.id), root)

    const made = await tell(...register, '--takes-from', root.id, '--takes-from', other.id)
    assert.deepEqual(made.takes_from, [root.id, other.id])
    const facts = await show('agent', 'show', made.id)
    assert.ok(facts.includes(`takes from  ${root.id}\ntakes from  ${other.id}\n`), facts)
    const changed = await tell('agent', 'update', made.id, '--takes-from', other.id)
    assert.deepEqual(changed, { ...made, takes_from: [other.id] })
    const line = new RegExp(`^${made.id} .* ${other.id}$`, 'm')
    assert.match(await show('agent', 'list'), line)
    const alone = await show('agent', 'update', made.id, '--takes-from-nobody')
    assert.equal(alone.includes('takes from'), false, alone)
    assert.deepEqual((await tell('agent', 'show', made.id)).takes_from, [])
  }))

test('principal sign-in shows a code as the answer alone, also where the answer is none', async () => {
  const code = `sgin_${'B'.repeat(43)}`
  const link = `http://127.0.0.1/sign-in?code=${code}`
  const answers = [
    { principal: 'alice', code },
    { principal: 'mallory', code, link },
    { principal: 'alice', code: [code], link },
    { principal: 'alice', code, link: 'javascript:' + code },
    { principal: 'alice', code, link: code },
  ]
  for (const body of answers) {
    await against(
      (_, answer) => answer.writeHead(201).end(JSON.stringify(body)),
      async (_, run) => {
        const done = await run('principal', 'sign-in', 'alice', '--json')
        assert.deepEqual([done.code, /server_failed/.test(done.err)], [2, true], done.err)
        assert.equal(/BBBB/.test(done.err + done.out), false, done.err + done.out)
      },
    )
  }
})

test('principal sign-in prints a link that signs the person in, for once', () =>
  withOperator(async (at, _, { tell, show, fails }) => {
    await fails(2, 'request_malformed', 'principal', 'sign-in', 'al ice')
    await fails(2, 'request_malformed', 'principal', 'sign-in', 'x'.repeat(201))
    const { principal, code, link } = await tell('principal', 'sign-in', 'alice')
    assert.deepEqual([principal, link], ['alice', `${at.issuer}/sign-in?code=${code}`])
    const form = { code, back: '/consent/x' }
    assert.equal((await postForm(at, '/sign-in', form)).status, 303)
    assert.equal((await postForm(at, '/sign-in', form)).status, 401)
    const said = await show('principal', 'sign-in', 'alice')
    assert.match(said, /^sign-in link of alice, for once: http:\S+\/sign-in\?code=sgin_\S+\n$/)
    assert.equal(at.said().includes('sgin_'), false)
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

    const idsOf = ({ items }: { items: { id: string }[] }) => items.map(({ id }) => id).sort()
    const [all, ours, table, bundles, theirs] = await Promise.all([
      tell('grant', 'list'),
      tell('grant', 'list', '--agent', agent),
      show('grant', 'list', '--parent', root),
      tell('bundle', 'list', '--grant', root),
      tell('bundle', 'list', '--device-key', helper.key.publicKey.id),
    ])
    assert.equal(all.items.length, 3)
    assert.deepEqual(idsOf(ours), [root, child.grant_id].sort())
    assert.match(table, new RegExp(`${child.grant_id} +active .*calendar:read .*${root}\n$`))
    assert.deepEqual(idsOf(bundles), [bundle])
    assert.deepEqual(idsOf(theirs), [child.bundle_id])

    // Without --yes nothing happens.
    assert.match(
      await show('grant', 'revoke', root),
      /would revoke grant_\S+ of agent_\S+ for alice \(calendar:read, mail:send\)[^]*say --yes/,
    )
    assert.equal((await tell('bundle', 'revoke', bundle)).done, false)
    assert.equal(
      (await bodyOf(await asOperator(at, 'GET', `/admin/bundles/${bundle}`))).state,
      'active',
    )

    const done = await tell('grant', 'revoke', root, '--yes', '--reason', 'lost')
    assert.deepEqual(
      [...done.revoked].sort(),
      [root, child.grant_id, bundle, child.bundle_id].sort(),
    )
    const listed = (await tell('grant', 'list', '--agent', agent)).items
    assert.deepEqual(
      listed.map((one: { state: string; reason: string }) => [one.state, one.reason]),
      [
        ['revoked', 'lost'],
        ['revoked', 'lost'],
      ],
    )
    assert.match(await show('grant', 'revoke', root, '--yes'), /nothing left to revoke/)
    const answer = await bodyOf(await asDevice(at, helper, 'GET', '/bundles'))
    assert.equal(answer.bundles[0].status.state, 'revoked')

    const text = await show('bundle', 'revoke', other.bundle_id, '--yes', '--with-grant')
    assert.ok(
      text.includes(`${other.bundle_id} is revoked\nand with it\n  ${other.grant_id}\n`),
      text,
    )
    const { state } = await bodyOf(await asOperator(at, 'GET', `/admin/grants/${other.grant_id}`))
    assert.equal(state, 'revoked')
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
    await fails(2, 'not_found', 'audit', 'export', id, '--out', 'robot.jsonl')
    const origin = `${new URL(at.issuer).host}/devices/${who.key.publicKey.id}`
    const log = await openLog(memoryLogStorage(), who.key, { origin })
    for (let i = 0; i < 5; i++) await log.append({ type: 'note', data: { i } })
    await log.append({ type: 'action.intent', data: { tool: 'not:granted', args: {} } })
    const sent = await asDevice(at, who, 'POST', `/bundles/${id}/sync`, await message(log))
    assert.equal(sent.status, 200, await sent.text())

    const { size } = await log.checkpoint()
    const done = await tell('audit', 'export', id, '--out', 'robot.jsonl')
    assert.deepEqual(done, { file: 'robot.jsonl', entries: size, verified: false })
    if (process.platform !== 'win32') {
      assert.equal(statSync(join(folder, 'robot.jsonl')).mode & 0o777, 0o600)
    }
    await fails(1, 'file_exists', 'audit', 'export', id, '--out', 'robot.jsonl')
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

    const { items } = await tell('audit', 'verdicts', id)
    assert.ok(items.length >= 1, JSON.stringify(items))
    assert.match(await show('audit', 'verdicts', id), /^ENTRY +CODE +RECEIVED\n\d+ +\w+ +20/)
    assert.equal(await show('audit', 'findings'), 'none\n')
  }))

test('audit export writes nothing of an export that is not whole', async () => {
  const head = '{"format":"signet-log-range@v1","from":0,"to":2}'
  for (const body of ['', `${head}\n{}\n`, `${head}\n{}\n{}`, `${head}\n{}\n{}\n{}\n`]) {
    await against((_, answer) => answer.end(body), async (_, run) => {
      const done = await run('audit', 'export', 'bundle_1', '--out', '/tmp/signet-none/x.jsonl')
      assert.deepEqual([done.code, /server_failed/.test(done.err)], [2, true], done.err)
    })
  }
})
