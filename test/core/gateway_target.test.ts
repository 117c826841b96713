import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSignetError } from '../../src/errors.ts'
import { checkTarget, isLoopbackAddress, isPublicAddress } from '../../src/gateway/target.ts'

const refuses = (url: string, options = {}) =>
  assert.throws(() => checkTarget(url, options), (error) => {
    assert.ok(isSignetError(error, 'usage_invalid'), url)
    return true
  }, url)

test('checkTarget() refuses what leads into a network or onto this machine, however it is written', () => {
  const inside = [
    ...['localhost', 'LOCALHOST', 'localhost.', 'a.localhost', 'printer.local', 'db.internal'],
    ...['router.lan', 'x.home.arpa', 'intranet', 'db', 'metadata.google.internal.'],
    ...['127.0.0.1', '127.1', '2130706433', '0x7f.0.0.1', '017700000001', '127.0.0.1.', '0.0.0.0'],
    ...['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '169.254.169.254', '100.64.0.1'],
    ...[
      '198.18.0.1',
      '224.0.0.1',
      '255.255.255.255',
      '192.0.2.1',
      '%31%32%37.0.0.1',
      '１２７.0.0.1',
    ],
    ...['[::1]', '[::]', '[::ffff:10.0.0.1]', '[::ffff:8.8.8.8]', '[fe80::1]', '[fd00::1]'],
    ...['[64:ff9b::a00:1]', '[2002:a00:1::]', '[2001::1]', '[2001:db8::1]', '[ff02::1]'],
  ]
  for (const host of inside) refuses(`https://${host}/hook`)
})

test('checkTarget() refuses other schemes, secrets in the URL, fragments, and what is none', () => {
  for (
    const url of [
      ...[
        '',
        'x',
        '/hook',
        '//hooks.example/x',
        'https://',
        'https://[::1',
        'https://a b.example/',
      ],
      ...['http://hooks.example/', 'ftp://hooks.example/', 'file:///etc/passwd', 'data:,x'],
      ...[
        'https://user@hooks.example/',
        'https://:pass@hooks.example/',
        'https://hooks.example/#x',
      ],
      ...[
        'javascript:alert(1)',
        'https://a..example/',
        `https://hooks.example/${'x'.repeat(2048)}`,
      ],
    ]
  ) refuses(url)
})

test('only with the option for it this machine is a target, and nothing else more', () => {
  const insecureLoopback = true
  for (const host of ['10.0.0.1', 'db.internal', '[fe80::1]', '127.0.0.1.example', 'localhost.x']) {
    refuses(`http://${host}/`, { insecureLoopback })
  }
  for (const url of ['http://127.0.0.1:8080/x', 'http://[::1]:1/', 'https://localhost/x']) {
    refuses(url)
    assert.equal(checkTarget(url, { insecureLoopback }).href, url)
  }
})

test('checkTarget() takes public places over TLS', () => {
  for (
    const url of [
      ...['https://example.com/webhook', 'https://hooks.example:8443/a?b=c', 'https://8.8.8.8/'],
      ...[
        'https://[2606:4700::1111]/',
        'https://mylocal.example/',
        'https://xn--bcher-kva.example/',
      ],
    ]
  ) assert.equal(checkTarget(url).href, url)
})

test('isPublicAddress() refuses each closed block at both of its ends, and what is no address', () => {
  const closed = [
    ...['0.0.0.0', '0.255.255.255', '10.255.255.255', '100.64.0.0', '100.127.255.255', '127.0.0.0'],
    ...['169.254.0.0', '172.16.0.0', '172.31.255.255', '192.0.0.255', '192.168.255.255'],
    ...[
      '198.19.255.255',
      '203.0.113.255',
      '224.0.0.0',
      '239.1.1.1',
      '240.0.0.0',
      '255.255.255.255',
    ],
    ...[
      '::',
      '::1',
      '::ffff:8.8.8.8',
      'fc00::',
      'fdff::1',
      'fe80::1',
      'febf::1',
      'fec0::1',
      'ff00::',
    ],
    ...['2001::', '2001:1ff:ffff::', '2001:db8:ffff::', '2002::', '3fff:fff::', '64:ff9b::8.8.8.8'],
    ...[
      '1fff:ffff::',
      '4000::',
      '',
      'x',
      '1.2.3',
      '1.2.3.256',
      '1.2.3.4.5',
      '08.8.8.8.',
      ':::',
      'fe80::1%eth0',
    ],
    ...['2606:4700::1111%1', '[2606:4700::1111]', '2606:4700::1111/64'],
  ]
  for (const address of closed) assert.equal(isPublicAddress(address), false, address)
  const open = [
    ...['1.1.1.1', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255'],
    ...['128.0.0.0', '172.15.255.255', '172.32.0.0', '192.167.255.255', '223.255.255.255'],
    ...['2001:200::', '2001:db7::', '2003::1', '2606:4700::1111', '3ffe::1', '2000::'],
  ]
  for (const address of open) assert.equal(isPublicAddress(address), true, address)
  for (const address of ['127.0.0.1', '127.255.0.9', '::1', '0:0:0:0:0:0:0:1']) {
    assert.equal(isLoopbackAddress(address), true, address)
  }
  for (const address of ['128.0.0.1', '::2', '10.0.0.1', 'x', '', '::ffff:127.0.0.1']) {
    assert.equal(isLoopbackAddress(address), false, address)
  }
})

test('checkTarget() refuses a name for inside with more than one dot at its end', () => {
  for (const host of ['localhost..', 'db.internal..', 'printer.local..', 'a..example']) {
    assert.throws(() => checkTarget(`https://${host}/`), { code: 'usage_invalid' }, host)
  }
})
