/**
 * Name constraints (RFC 5280 §4.2.1.10): what a CA was told it may name. They are enforced whether
 * or not they are critical. A doubt decides against the certificate: names that are not plain are
 * refused as soon as a constraint of their kind is there, and permission needs an exact match of
 * names where exclusion is content with a likeness.
 */
import { equalBytes } from '../bytes.ts'
import type { Certificate } from './certificate.ts'
import {
  type DistinguishedName,
  EMAIL_ADDRESS,
  type GeneralName,
  generalNameText,
  type NameAttribute,
} from './names.ts'

/** Counts comparisons, so that many names against many constraints end soon. */
export interface Budget {
  /** Comparisons left. */
  comparisons: number
}

/** Whether a name lies within a base; undefined: the name is not of a form that can be judged. */
type Within = (name: GeneralName, base: GeneralName, exactly: boolean) => boolean | undefined

const HOST = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/
const IPV4 = /^\d+(?:\.\d+){3}$/

/** By kind. Kinds that are not here can't be judged. */
const WITHIN: Partial<Record<GeneralName['kind'], Within>> = {
  dns(name, base) {
    const host = plainHost(generalNameText(name))
    const domain = generalNameText(base).toLowerCase()
    if (host === undefined || (domain !== '' && plainHost(domain) === undefined)) return undefined
    return domain === '' || host === domain || host.endsWith(`.${domain}`)
  },

  email(name, base, exactly) {
    const [local, host] = mailbox(generalNameText(name))
    if (local === undefined || host === undefined) return undefined
    const text = generalNameText(base)
    if (!text.includes('@')) return withinHost(host, text)
    const [baseLocal, baseHost] = mailbox(text)
    if (baseLocal === undefined || baseHost === undefined) return undefined
    if (host !== baseHost) return false
    return exactly ? local === baseLocal : local.toLowerCase() === baseLocal.toLowerCase()
  },

  uri(name, base) {
    const host = hostOfUri(generalNameText(name))
    return host === undefined ? undefined : withinHost(host, generalNameText(base))
  },

  ip({ content: address }, { content: range }) {
    // A range of the other version says nothing about this address: no match.
    if (range.length !== 2 * address.length) return false
    return address.every((byte, i) => {
      const mask = range[address.length + i]!
      return (byte & mask) === (range[i]! & mask)
    })
  },

  directory(name, base, exactly) {
    const [rdns, prefix] = [name.directory?.rdns, base.directory?.rdns]
    if (rdns === undefined || prefix === undefined) return undefined
    return prefix.length <= rdns.length &&
      prefix.every((rdn, i) => sameRdn(rdn, rdns[i]!, exactly))
  },
}

/** `host` or `.domain` (§4.2.1.10 on URIs and mailboxes): the host itself, or any below the domain. */
function withinHost(host: string, base: string): boolean | undefined {
  const domain = base.toLowerCase()
  if (domain.startsWith('.')) {
    return plainHost(domain.slice(1)) === undefined ? undefined : host.endsWith(domain)
  }
  return plainHost(domain) === undefined ? undefined : host === domain
}

function plainHost(text: string): string | undefined {
  const host = text.toLowerCase()
  return host.length <= 253 && HOST.test(host) && !IPV4.test(host) ? host : undefined
}

function mailbox(text: string): readonly [local?: string, host?: string] {
  const at = text.lastIndexOf('@')
  const [local, host] = [text.slice(0, Math.max(at, 0)), plainHost(text.slice(at + 1))]
  // A quoted local part may hold an @ and hide where it ends.
  return at < 1 || host === undefined || /[@"\\]/.test(local) ? [] : [local, host]
}

function hostOfUri(uri: string): string | undefined {
  const match = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:[^/?#@\\]*@)?([^/?#@\\:]*)(?::\d*)?(?:[/?#]|$)/
    .exec(uri)
  return match === null ? undefined : plainHost(match[1]!)
}

function sameRdn(
  a: readonly NameAttribute[],
  b: readonly NameAttribute[],
  exactly: boolean,
): boolean {
  const same = (x: NameAttribute, y: NameAttribute) =>
    exactly ? equalBytes(x.der, y.der) : x.type === y.type && alike(x) === alike(y)
  // To be excluded it is enough that every attribute of the base is there.
  return (!exactly || a.length === b.length) && a.every((x) => b.some((y) => same(x, y)))
}

/** The value without what RFC 5280 §7.1 and RFC 4518 call insignificant; its DER if it is no text. */
function alike({ text, value }: NameAttribute): string {
  return text === undefined
    ? String(value)
    : text.normalize('NFKC').toLowerCase().replace(/[\s\p{C}]+/gu, ' ').trim()
}

/** All that a certificate names, its subject and an e-mail address in it included (§6.1.3 b, c). */
export function namesOf({ subject, extensions }: Certificate): GeneralName[] {
  const names = [...extensions.subjectAltName ?? []]
  if (subject.rdns.length > 0) {
    names.push({ kind: 'directory', content: subject.der, directory: subject })
  }
  if (!names.some(({ kind }) => kind === 'email')) names.push(...subjectMailboxes(subject))
  return names
}

function subjectMailboxes({ rdns }: DistinguishedName): GeneralName[] {
  return rdns.flat().filter(({ type }) => type === EMAIL_ADDRESS).map(({ text, value }) => ({
    kind: 'email',
    content: text === undefined ? value : new TextEncoder().encode(text),
  }))
}

/**
 * What names of a certificate its CA's constraints forbid, as the reason; undefined when none.
 * `budget` is spent, and an empty one is a reason as well.
 */
export function constraintFault(
  names: readonly GeneralName[],
  { extensions: { nameConstraints } }: Certificate,
  budget: Budget,
): string | undefined {
  if (nameConstraints === undefined) return undefined
  for (const name of names) {
    const ofKind = (bases: readonly GeneralName[]) => bases.filter(({ kind }) => kind === name.kind)
    const permitted = ofKind(nameConstraints.permitted)
    const excluded = ofKind(nameConstraints.excluded)
    if (permitted.length + excluded.length === 0) continue
    budget.comparisons -= permitted.length + excluded.length
    if (budget.comparisons < 0) return 'there are too many names and name constraints to compare'
    const within = WITHIN[name.kind]
    // Every answer counts, not the first: "cannot be judged" outweighs a match.
    const inside = permitted.map((base) => within?.(name, base, true))
    const outside = excluded.map((base) => within?.(name, base, false))
    if ([...inside, ...outside].includes(undefined)) {
      return `its ${name.kind} name can't be judged under the name constraints of its issuer`
    }
    const isPermitted = permitted.length === 0 || inside.includes(true)
    if (!isPermitted || outside.includes(true)) {
      return `its ${name.kind} name is outside of the name constraints of its issuer`
    }
  }
  return undefined
}
