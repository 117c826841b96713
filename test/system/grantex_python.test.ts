/** The life of the real Python client against our server, over HTTP. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { utf8 } from '../../src/bytes.ts'
import { readGrantexAudit } from '../../src/interop/mod.ts'
import { readPublicKeys } from '../../src/keys/mod.ts'
import { pythonProgram, pythonTest } from './_grantex.ts'
import { newAgent, withServer } from './_grantex_server.ts'
import { inTemp } from './_temp.ts'

const SCRIPT = `
import asyncio, json, os, sys
import httpx
from grantex_gemma import *

given = json.loads(sys.argv[1])
base, key = given['base'], given['key']
hex_key = '0123456789abcdef' * 4
path = os.path.join(given['folder'], 'bundle')
log_path = os.path.join(given['folder'], 'log')
told = {}

async def life():
    bundle = await create_consent_bundle(api_key=key, agent_id=given['agent'], user_id='user_1',
        scopes=['calendar:read'], offline_ttl='72h', base_url=base)
    store_bundle(bundle, path, hex_key)
    bundle = load_bundle(path, hex_key)
    grant = await create_offline_verifier(bundle.jwks_snapshot, require_scopes=['calendar:read'], max_delegation_depth=0).verify(bundle.grant_token)
    told['depth'] = grant.depth
    told['first_key'] = bundle.offline_audit_key.public_key
    log = create_offline_audit_log(bundle.offline_audit_key, log_path)
    kinds = [None, {'f': 24.0, 'e': 1e-7, 'z': -0.0, 'big': 1e16, 'int': 10**30},
        {'note': 'caf\\u00e9 \\u2615 \\U0001f600', 'deep': {'b': [True, None, {'\\ufffd': 1, '\\U0001f600': 2}]}}]
    for i in range(250):
        await log.append('tool:%d' % i, grant, 'denied' if i % 7 == 0 else 'success', kinds[i % 3])
    async def sync():
        return await log.sync(endpoint=bundle.sync_endpoint, api_key=key, bundle_id=bundle.bundle_id)
    told['syncs'] = []
    for _ in range(2):
        done = await sync()
        told['syncs'].append([done.accepted, done.rejected, done.revocation_status, done.new_bundle is None])
    # The server renews what is nearly over; this client takes the new bundle from the answer.
    if given['renews']:
        bundle = done.new_bundle
        store_bundle(bundle, path, hex_key)
        told['last_key'] = bundle.offline_audit_key.public_key
        grant = await create_offline_verifier(bundle.jwks_snapshot).verify(bundle.grant_token)
        log = create_offline_audit_log(bundle.offline_audit_key, log_path)
        for i in range(30):
            await log.append('after:%d' % i, grant, 'success')
        done = await sync()
        told['syncs'].append([done.accepted, done.rejected, done.revocation_status, done.new_bundle is None])
    httpx.post(base + '/v1/consent-bundles/%s/revoke' % bundle.bundle_id, headers={'Authorization': 'Bearer ' + key})
    done = await sync()
    told['syncs'].append([done.accepted, done.rejected, done.revocation_status, done.new_bundle is None])
    told['bundle'] = bundle.bundle_id
    told['log'] = open(log_path).read()

asyncio.run(life())
json.dump(told, sys.stdout)
`

interface Told {
  readonly syncs: readonly (readonly [number, number, string, boolean])[]
  readonly depth: number
  readonly bundle: string
  readonly log: string
  readonly first_key: string
  readonly last_key: string
}

/** Not spawnSync: nothing here blocks, as a server of this process would need. */
function python(given: unknown): Promise<Told> {
  return new Promise((resolve, reject) => {
    const child = spawn(pythonProgram(), ['-c', SCRIPT, JSON.stringify(given)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [out, err]: [string[], string[]] = [[], []]
    child.stdout.setEncoding('utf8').on('data', (text) => out.push(text))
    child.stderr.setEncoding('utf8').on('data', (text) => err.push(text))
    child.once(
      'close',
      (code) =>
        code === 0
          ? resolve(JSON.parse(out.join('')))
          : reject(new Error(`python ended with ${code}: ${err.join('')}`)),
    )
  })
}

for (const renews of [false, true]) {
  pythonTest(
    renews
      ? 'the Python client gets a renewed bundle by sync and goes on with its log and the new key'
      : 'the Python client lives its whole life against our server',
    () =>
      inTemp((folder) => {
        const options = renews ? { renewBelow: 2 } : {}
        return withServer(folder, { options, allow: ['calendar:read'] }, async (server) => {
          const agent = await newAgent(server, ['calendar:read'])
          const { base, apiKey: key } = server
          const told = await python({ base, key, agent, folder, renews })
          assert.equal(told.depth, 0)
          // It uploads its whole log each time; all of it counts each time.
          const lives = renews
            ? [[250, 0, 'active', false], [250, 0, 'active', false], [280, 0, 'active', false], [
              ...[280, 0, 'revoked', true],
            ]]
            : [[250, 0, 'active', true], [250, 0, 'active', true], [250, 0, 'revoked', true]]
          assert.deepEqual(told.syncs, lives)
          const { body } = await server.call(
            'GET',
            `/v1/consent-bundles/${told.bundle}/audit?format=jsonl`,
          )
          const [first] = await readPublicKeys(told.first_key)
          const read = await readGrantexAudit(utf8(body), { key: first })
          if (renews) {
            const signatures = read.faults.filter(({ message }) =>
              message !== 'its signature fails'
            )
            assert.deepEqual([read.signed, read.faults.length, signatures], [250, 30, []])
          } else assert.deepEqual([read.signed, read.faults], [250, []])
          // httpx writes JSON in a form of its own; the content is the same to the byte after its canonical form.
          const content = (text: string) => text.trim().split('\n').map((line) => JSON.parse(line))
          assert.deepEqual(content(body), content(told.log))
        })
      }),
  )
}
