import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import process from 'node:process'
import { ALGORITHMS } from '../../src/algorithms.ts'
import { utf8 } from '../../src/bytes.ts'
import { der, derInteger, derOid, TAG, toSpki } from '../../src/crypto/mod.ts'
import { parseKeyUri, signMessage } from '../../src/keys/mod.ts'
import { type Cryptoki, type LoadModule, pkcs11Keys } from '../../backends/pkcs11.ts'
import { loadModule } from '../../backends/pkcs11/cryptoki.ts'
import { keyProviderSuite, refusal } from '../suites/key_provider_suite.ts'
import { type FaultyFixture, faultyStoreSuite } from '../suites/faulty_store_suite.ts'
import { absent, hsmTest, makeToken, PIN } from './_softhsm.ts'

const secrets = [PIN, 'wrong-pin-1']
const quiet = () => {}

keyProviderSuite({
  name: 'pkcs11Keys() on SoftHSM',
  // deno-lint-ignore require-await -- a fault must reject, not throw
  async fixture() {
    const { token, module, pinFile } = makeToken('suite')
    return {
      provider: pkcs11Keys(),
      uri: (label) =>
        `pkcs11:${token};object=${label}${label.includes('ps256') ? ';alg=PS256' : ''}` +
        `?${module}&pin-source=${pinFile}`,
      secrets,
    }
  },
  algorithms: {
    'ES256': ['digest'],
    'ES384': ['digest'],
    'ES512': ['digest'],
    'Ed25519': ['message'],
    'RS256': ['digest'],
    'PS256': ['digest'],
  },
  randomised: ['ES256', 'ES384', 'ES512', 'PS256'],
  malformedUris: [
    'pkcs11:',
    'pkcs11:token=suite',
    'pkcs11:object=a;object=b',
    'pkcs11:object=a;slot-id=one',
    'pkcs11:object=a;colour=red',
    'pkcs11:object=%zz',
    'pkcs11:id=%0',
    'pkcs11:object=',
    'pkcs11:object=a;type=cert',
    'pkcs11:object=a;alg=none',
    'pkcs11:object=a?pin-value=1&pin-source=/x',
    'pkcs11:object=a?module-path=/x?module-path=/y',
  ],
  skip: process.env.CI === 'true' ? undefined : absent,
})

/** A module that is SoftHSM but for the functions in `faults`. */
function faulty(faults: (real: Cryptoki) => Partial<Cryptoki>): LoadModule {
  return (path) => {
    const real = loadModule(path)
    const wrong: Partial<Cryptoki> = faults(real)
    return new Proxy(real, {
      get(target, name) {
        const fault = Reflect.get(wrong, name)
        const value = fault ?? Reflect.get(target, name)
        return typeof value === 'function'
          ? value.bind(fault === undefined ? target : wrong)
          : value
      },
    })
  }
}

/** The addon's way to fail. */
const ckr = (name: string) => new Error(`CKR_${name}`)

/** A fresh token with one key, through the real module. */
async function withKey(label: string, name: 'ES256' | 'Ed25519' = 'ES256') {
  const { token, module, pinFile } = makeToken(label)
  const uri = (object: string, rest = `pin-source=${pinFile}`) =>
    parseKeyUri(`pkcs11:${token};object=${object}?${module}&${rest}`)
  const provider = pkcs11Keys({ warn: quiet })
  const key = await provider.generate(uri('key'), ALGORITHMS[name])
  return { uri, provider, key, token, module }
}

const message = utf8('message')

faultyStoreSuite({
  name: 'pkcs11Keys() on a failing token',
  algorithm: 'ES256',
  skip: process.env.CI === 'true' ? undefined : absent,
  // deno-lint-ignore require-await -- a fault must reject, not throw
  async fixture() {
    const { token, module, pinFile } = makeToken('failing')
    let calls = 0
    const load = faulty((real) => ({
      async C_SignAsync(session, input, output) {
        const fault = fixture.inject(calls++)
        if (fault === 'delay') await new Promise((resolve) => setTimeout(resolve, 300))
        if (fault === 'throttle') throw ckr('DEVICE_ERROR')
        if (fault === 'drop') throw ckr('DEVICE_REMOVED')
        const signature = await real.C_SignAsync(session, input, output)
        return fault === 'garbage' ? Buffer.from(signature).reverse() : signature
      },
    }))
    const fixture: FaultyFixture = {
      provider: pkcs11Keys({ load }),
      uri: (label) => `pkcs11:${token};object=${label}?${module}&pin-source=${pinFile}`,
      secrets,
      inject: () => undefined,
      calls: () => calls,
      reset() {
        calls = 0
        fixture.inject = () => undefined
      },
    }
    return fixture
  },
})

hsmTest('a new private key is sensitive, not extractable, and of no other use', async () => {
  const { uri, key } = await withKey('attributes')
  const provider = pkcs11Keys({
    load: faulty((real) => ({
      C_SignInit(session, mechanism, object) {
        const types = [0x103, 0x162, 0x163, 0x164, 0x165, 0x108, 0x105, 0x107]
        const values = real.C_GetAttributeValue(session, object, types.map((type) => ({ type })))
        // SENSITIVE, EXTRACTABLE, LOCAL, NEVER_EXTRACTABLE, ALWAYS_SENSITIVE, SIGN, DECRYPT, UNWRAP
        assert.deepEqual(values.map(({ value }) => value[0]), [1, 0, 1, 1, 1, 1, 0, 0])
        assert.throws(() => real.C_GetAttributeValue(session, object, [{ type: 0x11 }]))
        real.C_SignInit(session, mechanism, object)
      },
    })),
  })
  const again = await provider.open(uri('key'))
  assert.equal(again.publicKey.id, key.publicKey.id)
})

hsmTest('a wrong PIN is sent to the token once in the life of the process', async () => {
  const { token, module } = makeToken('wrong-pin')
  const uri = (object: string, rest: string) =>
    parseKeyUri(`pkcs11:${token};object=${object}?${module}&${rest}`)
  const sent: string[] = []
  const load = faulty((real) => ({
    C_Login(session, user, pin) {
      sent.push(pin)
      real.C_Login(session, user, pin)
    },
  }))
  const wrong = uri('key', 'pin-value=wrong-pin-1')
  for (let i = 0; i < 3; i++) {
    // Another provider each time: the memory is the process's, not the provider's.
    const provider = pkcs11Keys({ load, warn: quiet })
    await refusal({ secrets }, provider.open(wrong), 'passphrase_wrong')
  }
  assert.deepEqual(sent, ['wrong-pin-1'])
  const asked: string[] = []
  const provider = pkcs11Keys({
    load,
    pin: (label) => {
      asked.push(label)
      return PIN
    },
  })
  const bare = parseKeyUri(`pkcs11:${token};object=key?${module}`)
  const right = await provider.generate(bare, ALGORITHMS.ES256)
  assert.ok(await right.publicKey.verify(message, await signMessage(right, message)))
  assert.deepEqual(new Set(asked), new Set(['wrong-pin']))
  // The process is logged in now; a wrong PIN must open nothing all the same.
  const other = pkcs11Keys({ load, warn: quiet })
  const error = await refusal(
    { secrets },
    other.open(uri('key', 'pin-value=0000')),
    'passphrase_wrong',
  )
  assert.match(error.remedy ?? '', /not asked again/)
  assert.deepEqual(sent.filter((pin) => pin === '0000'), [])
})

hsmTest('a PIN in the URI is taken with a warning, no PIN is passphrase_required', async () => {
  const { uri, key, token, module } = await withKey('warned')
  await key.close()
  const warnings: string[] = []
  const provider = pkcs11Keys({ warn: (text) => void warnings.push(text) })
  await (await provider.open(uri('key', `pin-value=${PIN}`))).close()
  assert.equal(warnings.length, 1)
  assert.ok(!warnings[0]!.includes(PIN))
  const bare = parseKeyUri(`pkcs11:${token};object=key?${module}`)
  await refusal({ secrets }, pkcs11Keys().open(bare), 'passphrase_required')
  const missing = uri('key', 'pin-source=/nonexistent/pin')
  await refusal({ secrets }, pkcs11Keys().open(missing), 'file_unreadable')
  const program = uri('key', 'pin-source=%7Ccat')
  await refusal({ secrets }, pkcs11Keys().open(program), 'uri_malformed')
})

hsmTest('a locked token and one with a single attempt left get no PIN from a file', async () => {
  const { uri, key } = await withKey('locked')
  await key.close()
  for (const flag of [0x40000, 0x20000]) {
    const load = faulty((real) => ({
      C_GetTokenInfo(slot) {
        const info = real.C_GetTokenInfo(slot)
        return {
          ...info,
          label: 'locked',
          serialNumber: `locked-${flag}`,
          flags: info.flags | flag,
        }
      },
      C_GetSlotList: () =>
        real.C_GetSlotList(true).filter((slot) =>
          real.C_GetTokenInfo(slot).label.startsWith('locked ')
        ),
      C_Login: () => assert.fail('the PIN was sent'),
    }))
    const provider = pkcs11Keys({ load })
    const error = await refusal({ secrets }, provider.open(uri('key')), 'key_locked')
    assert.equal(error.kind, 'backend')
  }
  const load = faulty(() => ({
    C_Login() {
      throw ckr('PIN_LOCKED')
    },
  }))
  await refusal({ secrets }, pkcs11Keys({ load }).open(uri('key')), 'key_locked')
})

hsmTest('absent modules and tokens, ambiguous keys and unfit ones have codes', async () => {
  const { uri, provider, token, module } = await withKey('refusals')
  const nowhere = parseKeyUri(`pkcs11:${token};object=key?module-path=/nonexistent/module.so`)
  const fault = await refusal({ secrets }, provider.open(nowhere), 'key_backend_unavailable')
  assert.equal(fault.kind, 'backend')
  const absentToken = parseKeyUri(`pkcs11:token=absent;object=key?${module}`)
  await refusal({ secrets }, provider.open(absentToken), 'key_backend_unavailable')
  const anyToken = parseKeyUri(`pkcs11:object=key?${module}`)
  await refusal({ secrets }, provider.open(anyToken), 'key_ambiguous')
  const one = uri('twin;id=%01')
  const two = uri('twin;id=%02%ff')
  for (const twin of [one, two]) await provider.generate(twin, ALGORITHMS.Ed25519)
  await refusal({ secrets }, provider.open(uri('twin')), 'key_ambiguous')
  assert.notEqual(
    (await provider.open(one)).publicKey.id,
    (await provider.open(two)).publicKey.id,
  )
  const load = faulty((real) => ({
    C_GetAttributeValue(session, object, template) {
      const isSign = template[0]!.type === 0x108
      return isSign
        ? [{ type: 0x108, value: Buffer.from([0]) }]
        : real.C_GetAttributeValue(session, object, template)
    },
  }))
  await refusal({ secrets }, pkcs11Keys({ load }).open(uri('key')), 'key_usage')
  const unable = faulty(() => ({ C_GetMechanismList: () => [] }))
  const weak = pkcs11Keys({ load: unable })
  await refusal({ secrets }, weak.open(uri('key')), 'algorithm_unsupported')
  await refusal({ secrets }, provider.open(uri('key;alg=PS256')), 'algorithm_mismatch')
})

hsmTest('a public key that lies beside another private key is found out on opening', async () => {
  const { uri, provider } = await withKey('mismatch')
  await provider.generate(uri('other'), ALGORITHMS.ES256)
  let swapped: Parameters<Cryptoki['C_SignInit']>[2] | undefined
  const load = faulty((real) => ({
    C_FindObjects(session, count) {
      const found = real.C_FindObjects(session, count)
      swapped ??= found[0]
      return found
    },
    // The token signs with another key than the one that was named.
    C_SignInit(session, mechanism, _key) {
      real.C_FindObjectsInit(session, [{ type: 0, value: 3 }, { type: 3, value: 'other' }])
      const [other] = real.C_FindObjects(session, 1)
      real.C_FindObjectsFinal(session)
      real.C_SignInit(session, mechanism, other!)
    },
  }))
  await refusal({ secrets }, pkcs11Keys({ load }).open(uri('key')), 'key_mismatch')
})

for (
  const fault of ['SESSION_HANDLE_INVALID', 'DEVICE_ERROR', 'USER_NOT_LOGGED_IN', 'DEVICE_REMOVED']
) {
  hsmTest(`CKR_${fault} amid 60 signatures: all are made, each once`, async () => {
    const { uri, key } = await withKey(`once-${fault.toLowerCase()}`)
    let calls = 0
    let answers = 0
    const load = faulty((real) => ({
      async C_SignAsync(session, input, output) {
        if (++calls === 20) throw ckr(fault)
        const answer = await real.C_SignAsync(session, input, output)
        answers++
        return answer
      },
    }))
    const opened = await pkcs11Keys({ load }).open(uri('key'))
    const before = answers
    const messages = Array.from({ length: 60 }, (_, i) => utf8(`message ${i}`))
    const signatures = await Promise.all(messages.map((one) => signMessage(opened, one)))
    const valid = signatures.map((one, i) => key.publicKey.verify(messages[i]!, one))
    assert.ok((await Promise.all(valid)).every(Boolean))
    assert.equal(answers - before, 60)
    await opened.close()
  })
}

hsmTest(
  'a token that keeps failing is an error of the backend, after one more attempt',
  async () => {
    const { uri } = await withKey('dead')
    let broken = false
    let calls = 0
    const load = faulty((real) => ({
      C_SignAsync(session, input, output) {
        calls++
        return broken
          ? Promise.reject(ckr('DEVICE_ERROR'))
          : real.C_SignAsync(session, input, output)
      },
    }))
    const key = await pkcs11Keys({ load }).open(uri('key'))
    broken = true
    calls = 0
    const error = await refusal({ secrets }, signMessage(key, message), 'key_backend_unavailable')
    assert.equal(error.kind, 'backend')
    assert.equal(calls, 2)
    broken = false
    assert.ok(await key.publicKey.verify(message, await signMessage(key, message)))
  },
)

hsmTest(
  'a token that is taken out and put back is found again; while out, it is unavailable',
  async () => {
    const { uri } = await withKey('removed')
    let out = false
    const load = faulty((real) => ({
      C_GetSlotList: (present) => out ? [] : real.C_GetSlotList(present),
      C_GetTokenInfo(slot) {
        if (out) throw ckr('TOKEN_NOT_PRESENT')
        return real.C_GetTokenInfo(slot)
      },
      C_SignInit(session, mechanism, key) {
        if (out) throw ckr('DEVICE_REMOVED')
        real.C_SignInit(session, mechanism, key)
      },
    }))
    const key = await pkcs11Keys({ load }).open(uri('key'))
    out = true
    await refusal({ secrets }, signMessage(key, message), 'key_backend_unavailable')
    out = false
    assert.ok(await key.publicKey.verify(message, await signMessage(key, message)))
  },
)

hsmTest('a short answer and a wrong one never leave as signatures', async () => {
  const { uri } = await withKey('garbage')
  let answer: (real: Buffer) => Buffer = (real) => real
  const load = faulty((real) => ({
    C_SignAsync: async (session, input, output) =>
      answer(await real.C_SignAsync(session, input, output)),
  }))
  const key = await pkcs11Keys({ load }).open(uri('key'))
  for (
    const wrong of [
      (real: Buffer) => real.subarray(1),
      () => Buffer.alloc(64),
      (real: Buffer) => Buffer.from(real).fill(1, 3, 5),
      () => Buffer.alloc(0),
    ]
  ) {
    answer = wrong
    await refusal({ secrets }, signMessage(key, message), 'key_backend_unavailable')
  }
})

hsmTest('a token with fewer sessions than asked for serves all the same', async () => {
  const { uri } = await withKey('few')
  const open = new Set<string>()
  const load = faulty((real) => ({
    C_OpenSession(slot, flags) {
      if (open.size >= 2) throw ckr('SESSION_COUNT')
      const session = real.C_OpenSession(slot, flags)
      open.add(session.toString('hex'))
      return session
    },
    C_CloseSession(session) {
      open.delete(session.toString('hex'))
      real.C_CloseSession(session)
    },
  }))
  const key = await pkcs11Keys({ load, sessions: 8 }).open(uri('key'))
  const all = await Promise.all(Array.from({ length: 30 }, () => signMessage(key, message)))
  assert.equal(all.length, 30)
  assert.equal(open.size, 2)
  await key.close()
  assert.equal(open.size, 0)
})

hsmTest('aborted work that waits for a session is never sent to a slow token', async () => {
  const { uri } = await withKey('slow')
  let calls = 0
  const load = faulty((real) => ({
    async C_SignAsync(session, input, output) {
      calls++
      await new Promise((resolve) => setTimeout(resolve, 30))
      return await real.C_SignAsync(session, input, output)
    },
  }))
  const key = await pkcs11Keys({ load, sessions: 2 }).open(uri('key'))
  calls = 0
  const controller = new AbortController()
  const bytes = new Uint8Array(32)
  const options = { signal: controller.signal }
  const doomed = Array.from({ length: 20 }, () => key.sign({ mode: 'digest', bytes }, options))
  const kept = Promise.all(Array.from({ length: 4 }, () => key.sign({ mode: 'digest', bytes })))
  controller.abort()
  for (const one of doomed) await refusal({ secrets }, one, 'aborted')
  assert.equal((await kept).length, 4)
  assert.ok(calls <= 6, `${calls} signatures were asked for`)
  await key.close()
})

hsmTest('list names every key by a URI that opens it', async () => {
  const { uri, provider, key, token, module } = await withKey('listed')
  await provider.generate(uri('second'), ALGORITHMS.RS256)
  const pin = uri('').text.split('&')[1]
  const all = await provider.list(parseKeyUri(`pkcs11:${token}?${module}&${pin}`))
  assert.deepEqual(all.map((one) => [one.label, one.algorithm?.name]).sort(), [
    ['key', 'ES256'],
    ['second', 'RS256'],
  ])
  const first = all.find((one) => one.label === 'key')!
  assert.ok(!first.uri.includes('pin'))
  assert.match(first.id, /^[0-9a-f]{32}$/)
  assert.equal(first.publicKey?.id, key.publicKey.id)
  const one = await provider.list(parseKeyUri(`pkcs11:${token};object=second?${module}&${pin}`))
  assert.deepEqual(one.map(({ label }) => label), ['second'])
  const opened = await provider.open(parseKeyUri(`${first.uri}?${module}&${pin}`))
  assert.equal(opened.publicKey.id, key.publicKey.id)
})

hsmTest('a wrapped secret opens in its context, unaltered, and under its key alone', async () => {
  const { uri, provider } = await withKey('wrapping')
  const context = { tenant: 'acme', purpose: 'weights', version: '1' }
  const kek = await provider.generateKek(uri('kek'))
  const other = await provider.generateKek(uri('other-kek'))
  await refusal({ secrets }, provider.generateKek(uri('kek')), 'file_exists')
  await refusal({ secrets }, provider.openKek(uri('key')), 'key_not_found')
  for (const length of [16, 32, 64, 256]) {
    const secret = crypto.getRandomValues(new Uint8Array(length))
    const wrapped = await kek.wrap(secret, context)
    assert.deepEqual(await kek.unwrap(wrapped, context), secret)
    const all = { secrets: [...secrets, secret] }
    await refusal(all, kek.unwrap(wrapped, { ...context, tenant: 'evil' }), 'key_mismatch')
    await refusal(all, other.unwrap(wrapped, context), 'key_mismatch')
    for (const at of [0, wrapped.length >> 1, wrapped.length - 1]) {
      const altered = wrapped.slice()
      altered[at]! ^= 1
      await refusal(all, kek.unwrap(altered, context), 'key_mismatch')
    }
    await refusal(all, kek.unwrap(wrapped.subarray(8), context), 'key_mismatch')
  }
  await refusal({ secrets }, kek.wrap(new Uint8Array(15), context), 'usage_invalid')
  const again = await provider.openKek(uri('kek'))
  const secret = new Uint8Array(32).fill(9)
  assert.deepEqual(await again.unwrap(await kek.wrap(secret, context), context), secret)
  await kek.close()
  await refusal({ secrets }, kek.wrap(secret, context), 'key_closed')
  assert.deepEqual(await again.unwrap(await again.wrap(secret, context), context), secret)
})

hsmTest(
  'a certificate is taken beside its own key only, and stands in for a public object',
  async () => {
    const { uri, provider, key } = await withKey('certified')
    const other = await provider.generate(uri('other'), ALGORITHMS.ES256)
    // RFC 5280 §4.1, as little of it as there can be; its signature is nobody's.
    const certificate = ({ publicKey: { algorithm, raw } }: typeof key) => {
      const name = der(TAG.sequence)
      const signed = der(TAG.sequence, derOid('1.2.840.10045.4.3.2'))
      const time = der(0x17, utf8('260101000000Z'))
      const version = der(0xa0, derInteger(Uint8Array.of(2)))
      const serial = derInteger(Uint8Array.of(1))
      const validity = der(TAG.sequence, time, time)
      const spki = toSpki(algorithm, raw)
      const tbs = der(TAG.sequence, version, serial, signed, name, validity, name, spki)
      return der(TAG.sequence, tbs, signed, der(TAG.bitString, new Uint8Array(9)))
    }
    const foreign = certificate(other)
    await refusal({ secrets }, provider.importCertificate(uri('key'), foreign), 'key_mismatch')
    const noise = utf8('no certificate')
    await refusal({ secrets }, provider.importCertificate(uri('key'), noise), 'der_malformed')
    const hidden = faulty((real) => ({
      C_FindObjectsInit(session, template) {
        const isPublic = template.some(({ type, value }) => type === 0 && value === 2)
        real.C_FindObjectsInit(session, isPublic ? [{ type: 3, value: 'nothing' }] : template)
      },
    }))
    const blind = pkcs11Keys({ load: hidden })
    await refusal({ secrets }, blind.open(uri('key')), 'key_not_found')
    await provider.importCertificate(uri('key'), certificate(key))
    const opened = await blind.open(uri('key'))
    assert.equal(opened.publicKey.id, key.publicKey.id)
  },
)
