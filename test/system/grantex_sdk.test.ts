/** The real SDK for Python: its clients for webhooks and SCIM, and its check of what our server sends. */
import assert from 'node:assert/strict'
import { pythonTest, startPython } from './_grantex.ts'
import { newAgent, withServer } from './_grantex_server.ts'
import { withReceiver } from './_receiver.ts'
import { inTemp } from './_temp.ts'

const SCRIPT = `
import json, sys
from grantex import Grantex, GrantexApiError, verify_webhook, verify_webhook_signature
from grantex._types import CreateScimUserParams

def tell(value):
    print(json.dumps(value), flush=True)
def hear():
    return json.loads(sys.stdin.readline())

given = hear()
client = Grantex(api_key=given['key'], base_url=given['base'], max_retries=0)
hook = client.webhooks.create(url=given['url'], events=['grant.created', 'grant.revoked', 'token.issued'])
assert [one.id for one in client.webhooks.list().webhooks] == [hook.id]

token = client.scim.create_token('idp')
assert [one.id for one in client.scim.list_tokens().tokens] == [token.id]
idp = Grantex(api_key=token.token, base_url=given['base'], max_retries=0)
user = idp.scim.create_user(CreateScimUserParams(user_name='alice', display_name='Alice'))
assert (user.user_name, user.active) == ('alice', True)
assert idp.scim.get_user(user.id).display_name == 'Alice'
listed = idp.scim.list_users(start_index=1, count=10)
assert (listed.total_results, [one.id for one in listed.resources]) == (1, [user.id])
assert idp.scim.replace_user(user.id, CreateScimUserParams(user_name='alice', display_name='A')).display_name == 'A'
tell({})
hear() # alice was given a grant
assert idp.scim.update_user(user.id, [{'op': 'replace', 'path': 'active', 'value': False}]).active is False
tell({})
verdicts = []
for one in hear():
    body, headers = one['body'], one['headers']
    sign, time = headers['x-grantex-signature-v2'], headers['x-grantex-timestamp']
    verdicts.append([
        verify_webhook(body, sign, time, hook.secret),
        verify_webhook_signature(body, headers['x-grantex-signature'], hook.secret),
        verify_webhook(body + ' ', sign, time, hook.secret),
        verify_webhook(body, sign, str(int(time) + 1), hook.secret),
        verify_webhook(body, sign, time, 'x' + hook.secret[1:]),
    ])
idp.scim.delete_user(user.id)
client.scim.revoke_token(token.id)
client.webhooks.delete(hook.id)
assert client.webhooks.list().webhooks == () or client.webhooks.list().webhooks == []
try:
    idp.scim.list_users()
    refused = None
except GrantexApiError as error:
    refused = error.status_code
tell({'verdicts': verdicts, 'refused': refused})
`

pythonTest(
  'the real SDK registers, is sent what it verifies, and deactivates a person',
  () =>
    inTemp((folder) =>
      withReceiver((receiver) => {
        const webhooks = { insecureLoopback: true }
        const settings = { options: { insecureSandboxApproval: true }, webhooks }
        return withServer(folder, settings, async (server) => {
          const python = startPython(SCRIPT)
          const { base, apiKey: key } = server
          await python.say({ base, key, url: receiver.url })
          const agentId = await newAgent(server, ['calendar:read'])
          const asks = { agentId, principalId: 'alice', scopes: ['calendar:read'] }
          const { body: { code } } = await server.call('POST', '/v1/authorize', asks)
          const { body: { grantId } } = await server.call('POST', '/v1/token', { code, agentId })
          await python.say({})
          await receiver.until(() => receiver.got.length === 3)
          const told = await python.say(
            receiver.got.map(({ body, headers }) => ({ body, headers })),
          )
          assert.deepEqual(told, {
            verdicts: Array(3).fill([true, true, false, false, false]),
            refused: 401,
          })
          const types = receiver.got.map(({ json }) => [json.type, json.data.grantId])
          assert.deepEqual(types.toSorted(), [
            ['grant.created', grantId],
            ['grant.revoked', grantId],
            ['token.issued', grantId],
          ])
          const { body } = await server.call('POST', '/v1/authorize', asks)
          assert.equal(body.code, 'PRINCIPAL_INACTIVE')
          await python.end()
        })
      })
    ),
)
