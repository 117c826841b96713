/** `signet keys list` on a token: what is there, without opening any of it. */
import assert from 'node:assert/strict'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { parseKeyUri } from '../../src/keys/mod.ts'
import { pkcs11Keys } from '../../backends/pkcs11.ts'
import { inFolder, signet } from './_signet.ts'
import { hsmTest, makeToken, PIN } from './_softhsm.ts'

hsmTest(
  'keys list shows the keys of a token by label, algorithm and public thumbprint',
  () =>
    inFolder(async (folder) => {
      const { token, module, pinFile } = makeToken('shelf')
      const store = `pkcs11:${token}?${module}&pin-source=${pinFile}`
      const list = (...more: string[]) => signet(folder, 'keys', 'list', ...more)
      const none = list('--key', store)
      assert.equal(none.code, 0, none.err)
      assert.match(none.out, /no keys that sign/)
      const provider = pkcs11Keys()
      const made: string[] = []
      for (const name of ['ES256', 'Ed25519', 'RS256'] as const) {
        const uri = parseKeyUri(store.replace('?', `;object=${name.toLowerCase()}?`))
        const key = await provider.generate(uri, ALGORITHMS[name])
        made.push(key.publicKey.id)
        await key.close()
      }
      const { out, code, err } = list('--key', store, '--json')
      assert.equal(code, 0, err)
      const rows = JSON.parse(out) as { label: string; algorithm: string; thumbprint: string }[]
      const sorted = rows.toSorted((a, b) => a.label < b.label ? -1 : 1)
      assert.deepEqual(
        sorted.map(({ label, algorithm, thumbprint }) => [label, algorithm, thumbprint]),
        [
          ['ed25519', 'Ed25519', made[1]],
          ['es256', 'ES256', made[0]],
          ['rs256', 'RS256', made[2]],
        ],
      )
      const text = list('--key', store)
      assert.match(text.out, new RegExp(`es256 +ES256 +${made[0]} +pkcs11:token=shelf;`))
      assert.ok(!(out + text.out + text.err).includes(PIN))

      assert.equal(list().code, 1)
      assert.equal(list('--key', store, 'a.keys.json').code, 1)
      assert.equal(list('--key', 'k.pem').code, 1)
      assert.equal(list('--key', `pkcs11:token=elsewhere?${module}`).code, 7)
    }),
)
