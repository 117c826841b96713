/** `signet serve --policy`: a real server that goes by a file, which changes while it runs. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { parseGrantPolicy } from '../../src/gateway/mod.ts'
import {
  authorize,
  bodyOf,
  type Device,
  device,
  push,
  refused,
  registered,
  signedForm,
  tokenFields,
} from '../core/_gateway.ts'
import { makeIssuer, type Served, startServer } from './_serve.ts'
import { inFolder, signet } from './_signet.ts'

const SERVE = ['serve', '--data', 'data', '--key', 'issuer.pem', '--insecure-clear-key']
const DENY = { id: 'no-payments', effect: 'deny', scopes: ['payments:initiate'] }

const written = (folder: string, text: string) => writeFileSync(join(folder, 'policy.json'), text)
const write = (folder: string, ...rules: object[]) =>
  written(folder, JSON.stringify({ format: 'signet-policy@v1', rules }))

/** Where a request is sent: to a page of ours, or with an answer. */
async function asked(at: Served, agent: string, scope: string, who?: Device): Promise<URL> {
  const id = await push(at, agent, {
    scope,
    duration: '60',
    offline_max_age: '60',
    login_hint: 'alice',
    dpop_jkt: who?.key.publicKey.id,
  })
  const answer = await authorize(at, agent, id)
  assert.equal(answer.status, 303, await answer.text())
  return new URL(answer.headers.get('location')!, at.issuer)
}

/** Has the server read its policy again; what it says about that. */
async function readAgain(at: Served): Promise<string> {
  const before = at.said().length
  process.kill(at.pid, 'SIGHUP')
  for (let i = 0; i < 200; i++) {
    const said = at.said().slice(before)
    if (said.includes('policy')) return said
    await setTimeout(25)
  }
  throw new Error(`nothing was said: ${at.said()}`)
}

test('the policy in the documentation is one', () => {
  const page = readFileSync(new URL('../../docs/server.md', import.meta.url), 'utf8')
  const [, text = ''] = /```json\n([^]*?)```/.exec(page) ?? []
  assert.equal(parseGrantPolicy(text).size, 4)
})

test('signet serve --policy refuses to start with a policy that it cannot read or understand', () =>
  inFolder((folder) => {
    makeIssuer(folder)
    const fails = (name: string) => {
      const { code, err } = signet(
        folder,
        ...SERVE,
        '--listen',
        '127.0.0.1:0',
        '--policy',
        'policy.json',
      )
      assert.equal(code, 2, err)
      assert.ok(err.includes(name), err)
    }
    fails('file_unreadable')
    written(folder, '{"format":"signet-policy@v1","rules":[}')
    fails('json_malformed')
    write(folder)
    fails('policy_malformed')
    write(folder, DENY, { ...DENY, id: 'b', effect: 'forbid' })
    fails('rules.1.effect')
    write(folder, { ...DENY, scopes: ['payments:*'] })
    fails('rules.0.scopes')
  }))

test('signet serve --policy allows, asks and denies by the file as it last was whole', {
  skip: process.platform === 'win32' && 'there is no SIGHUP',
}, () =>
  inFolder(async (folder) => {
    makeIssuer(folder)
    write(folder, DENY)
    const server = await startServer(folder, 0, '--policy', 'policy.json')
    try {
      const agent = await registered(server)
      const [who, thief] = [await device(), await device()]
      assert.match((await asked(server, agent, 'calendar:read', who)).pathname, /^\/consent\//)
      assert.match(server.said(), /GET \/oauth\/authorize 303 \S+ \S+ policy: ask\n/)
      const denied = await asked(server, agent, 'calendar:read payments:initiate', who)
      assert.equal(denied.searchParams.get('error'), 'access_denied')
      assert.match(
        server.said(),
        /GET \/oauth\/authorize 303 \S+ \S+ policy: deny by no-payments\n/,
      )

      const allow = {
        id: 'calendar',
        effect: 'allow',
        agents: [agent],
        principals: ['alice'],
        keys: [who.key.publicKey.id],
        scopes: ['calendar:read'],
        max_duration: 60,
        max_offline_age: 60,
      }
      write(folder, DENY, allow)
      assert.match(await readAgain(server), /policy policy\.json: 2 rules\n/)
      assert.match((await asked(server, agent, 'calendar:read', thief)).pathname, /^\/consent\//)
      assert.match((await asked(server, agent, 'mail:send', who)).pathname, /^\/consent\//)
      const code = async () => {
        const to = await asked(server, agent, 'calendar:read', who)
        return to.searchParams.get('code')!
      }
      const fields = tokenFields(agent, await code(), thief)
      await refused(signedForm(server, thief, '/oauth/token', fields), 400, 'code_refused')
      const { grant_id: id } = await bodyOf(
        await signedForm(server, who, '/oauth/token', tokenFields(agent, await code(), who)),
      )
      assert.match(id, /^grant_/)
      assert.match(server.said(), /policy: allow by calendar\n/)

      // What is broken changes nothing, and is said.
      written(folder, JSON.stringify({ format: 'signet-policy@v1', rules: [{ ...allow, agent }] }))
      const said = await readAgain(server)
      assert.match(
        said,
        /policy not taken, the one before stays in force: .*rules\.0\.agent .*\[policy_malformed\]/,
      )
      assert.match(await code(), /^sgco_/)

      write(folder, { id: 'stop', effect: 'deny', agents: [agent], reason: 'closed' })
      assert.match(await readAgain(server), /1 rule\n/)
      const closed = await asked(server, agent, 'calendar:read', who)
      assert.equal(closed.searchParams.get('error_description'), 'closed')
    } finally {
      assert.equal(await server.stop(), 0)
    }
  }))
