/**
 * One token: its slot, its login, and a bounded pool of sessions.
 *
 * A session serves one operation at a time (PKCS#11 §5.12: an active signature belongs to its session), so
 * work waits for a free one. What fails closes its session. Where a fresh session may cure the failure, all
 * sessions of that age are given up, the token is looked for again, and the work is done once more: once.
 * The addon computes on another thread, so a slow token blocks nobody.
 */
import { Buffer } from 'node:buffer'
import { createHash, randomBytes } from 'node:crypto'
import { SignetError } from '../../src/errors.ts'
import { checkAborted } from '../../src/keys/mod.ts'
import { CK, type Cryptoki, type Handle, initialize, type TokenInfo } from './cryptoki.ts'
import { faultName, faultOf, isCurable, isFault } from './faults.ts'
import type { TokenUri } from './uri.ts'

/** A PIN, and whether nobody sits there who could be asked for another. */
export interface Pin {
  readonly text: string
  readonly unattended: boolean
}

/** What work gets. `age` changes when handles of objects have to be looked up again. */
export interface Session {
  readonly module: Cryptoki
  readonly handle: Handle
  readonly slot: Handle
  readonly age: number
  /** For keys that want the PIN before each use. */
  readonly pin: string | undefined
  /** Room for what goes in and comes out; of one call at a time, like the session. */
  readonly scratch: Buffer
}

/** A digest and the longest signature fit in. */
const SCRATCH = 2048

/** Options of {@link Token.use}. */
export interface UseOptions {
  readonly signal?: AbortSignal | undefined
  /** A session of its own that may change the token. */
  readonly write?: boolean
}

interface Login {
  /** Digests of PINs that the token refused: none of them is ever sent again. */
  readonly refused: Set<string>
  /** Digest of the PIN that it took: another one opens nothing, although the process is logged in. */
  accepted?: string
}

const logins = new Map<string, Login>()
const salt = randomBytes(32)
const digestOf = (pin: string) => createHash('sha256').update(salt).update(pin).digest('hex')

/** A token in use. Make one with {@link findToken}. */
export class Token {
  readonly label: string
  readonly #module: Cryptoki
  readonly #where: TokenUri
  readonly #login: Login
  readonly #max: number
  #pin: Pin | undefined
  #slot: Handle | undefined
  #age = 0
  #busy = 0
  #idle: Session[] = []
  #waiting: (() => void)[] = []
  #users = 0
  readonly #writing = new Set<Session>()

  constructor(module: Cryptoki, where: TokenUri, found: Found, login: Login, max: number) {
    this.label = found.label
    this.#module = module
    // From here on it is this very token, whatever else may be plugged in.
    this.#where = { ...where, token: found.label, serial: found.serial, slotId: undefined }
    this.#slot = found.slot
    this.#login = login
    this.#max = max
  }

  /** True where a PIN has to be brought: the token wants one and nobody has logged in here yet. */
  get wantsPin(): boolean {
    return this.#pin === undefined && this.#needsPin()
  }

  /**
   * Counts a user in and logs in. Each PIN goes to the token once, and never again if it is refused; whoever
   * brings another PIN than the one that opened the token stays outside.
   */
  enter(pin: Pin | undefined): void {
    if (pin !== undefined && this.#needsPin()) {
      const digest = digestOf(pin.text)
      const { refused, accepted } = this.#login
      if (refused.has(digest) || accepted !== undefined && accepted !== digest) {
        throw new SignetError('passphrase_wrong', `the PIN of token "${this.label}" is wrong`, {
          remedy: 'the token was not asked again, because tokens lock after a few attempts',
        })
      }
      this.#pin ??= pin
    } else if (this.wantsPin) {
      throw new SignetError('passphrase_required', `token "${this.label}" wants a PIN`, {
        remedy: 'add ?pin-source=/path/to/file to the URI',
      })
    }
    try {
      this.#idle.push(this.#open(0))
      this.#users++
    } catch (error) {
      if (this.#users === 0) this.#pin = undefined
      throw faultOf(error, 'login')
    }
  }

  /** Counts a user out; the last one closes the sessions, and with them the login. */
  leave(): void {
    this.#users--
    if (this.#users > 0) return
    this.#pin = undefined
    this.#retire()
    for (const go of this.#waiting.splice(0)) go()
  }

  /** Does work in a session. Errors of the addon come out as `SignetError`. */
  async use<T>(work: (session: Session) => T | Promise<T>, options: UseOptions = {}): Promise<T> {
    for (let first = true;; first = false) {
      let session: Session | undefined
      try {
        session = this.#idleNow(options) ?? await this.#take(options)
        const result = await work(session)
        this.#give(session, options.write === true)
        return result
      } catch (error) {
        if (session !== undefined) this.#give(session, true)
        if (isCurable(error)) {
          if (session === undefined || session.age === this.#age) this.#retire()
          checkAborted(options.signal)
          if (first && this.#users > 0) continue
        }
        throw faultOf(error, 'token ' + JSON.stringify(this.label))
      }
    }
  }

  /** An idle session, without a turn of the event loop; undefined if there is none. */
  #idleNow({ signal, write }: UseOptions): Session | undefined {
    checkAborted(signal)
    if (write) return undefined
    if (this.#users < 1) throw new SignetError('key_closed', 'the key was closed')
    const idle = this.#idle.pop()
    if (idle !== undefined) this.#busy++
    return idle
  }

  async #take(options: UseOptions): Promise<Session> {
    const { signal, write } = options
    if (write) return this.#open(CK.session.rw)
    for (;;) {
      const idle = this.#idleNow(options)
      if (idle !== undefined) return idle
      if (this.#busy < this.#max) {
        try {
          const session = this.#open(0)
          this.#busy++
          return session
        } catch (error) {
          // A token with fewer sessions than we would like: make do with those.
          if (this.#busy === 0 || !isFault(error, 'CKR_SESSION_COUNT')) throw error
        }
      }
      await this.#turn(signal)
      if (signal?.aborted) this.#waiting.shift()?.() // the turn passes on
      checkAborted(signal)
    }
  }

  /** Waits until a session is given back, or the signal is given. */
  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        signal?.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.#waiting = this.#waiting.filter((one) => one !== go)
        resolve()
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiting.push(go)
    })
  }

  #give(session: Session, spoilt: boolean): void {
    if (!this.#writing.delete(session)) this.#busy--
    if (spoilt || session.age !== this.#age || this.#users < 1) this.#shut(session)
    else this.#idle.push(session)
    this.#waiting.shift()?.()
  }

  #open(mode: number): Session {
    const { slot } = this.#locate()
    const handle = this.#module.C_OpenSession(slot, CK.session.serial | mode)
    const session = {
      module: this.#module,
      handle,
      slot,
      age: this.#age,
      pin: this.#pin?.text,
      scratch: Buffer.alloc(SCRATCH),
    }
    try {
      this.#logIn(handle)
    } catch (error) {
      this.#shut(session)
      throw error
    }
    if (mode !== 0) this.#writing.add(session)
    return session
  }

  /** Login holds for all sessions of the process and ends with the last one, so every new one asks for it. */
  #logIn(session: Handle): void {
    if (this.#pin === undefined) return
    const digest = digestOf(this.#pin.text)
    if (this.#login.refused.has(digest)) {
      throw new SignetError('passphrase_wrong', `the PIN of token "${this.label}" is wrong`)
    }
    const { flags } = this.#module.C_GetTokenInfo(this.#locate().slot)
    if (flags & CK.token.locked) {
      throw new SignetError('key_locked', `token "${this.label}" is locked`)
    }
    if (flags & CK.token.finalTry && this.#pin.unattended && this.#login.accepted !== digest) {
      throw new SignetError('key_locked', `token "${this.label}" has one attempt left`, {
        remedy: 'log in once by hand: a wrong PIN from a file would lock it',
      })
    }
    try {
      this.#module.C_Login(session, CK.user.user, this.#pin.text)
      this.#login.accepted = digest
    } catch (error) {
      if (isFault(error, 'CKR_USER_ALREADY_LOGGED_IN')) return
      if (faultName(error)?.startsWith('CKR_PIN_')) {
        this.#login.refused.add(digest)
        delete this.#login.accepted
        this.#pin = undefined
      }
      throw error
    }
  }

  #needsPin(): boolean {
    return (this.#locate().info.flags & CK.token.loginRequired) !== 0
  }

  #locate(): Found {
    const found = this.#slot === undefined
      ? findSlot(this.#module, this.#where)
      : readSlot(this.#module, this.#slot)
    this.#slot = found.slot
    return found
  }

  /** Gives all sessions of this age up. Those in use are closed when they come back. */
  #retire(): void {
    this.#age++
    this.#slot = undefined
    for (const session of this.#idle.splice(0)) this.#shut(session)
  }

  #shut({ handle }: Session): void {
    try {
      this.#module.C_CloseSession(handle)
    } catch {
      // It is gone already; that is what was wanted.
    }
  }
}

interface Found {
  readonly slot: Handle
  readonly label: string
  readonly serial: string
  readonly info: TokenInfo
}

/** Finds the one token that a URI names. Errors: `key_backend_unavailable`, `key_ambiguous`. */
export function findToken(
  module: Cryptoki,
  path: string,
  where: TokenUri,
  known: Map<string, Token>,
  max: number,
): Token {
  const found = findSlot(module, where)
  const name = JSON.stringify([path, found.info.manufacturerID, found.serial, found.label])
  let token = known.get(name)
  if (token === undefined) {
    let login = logins.get(name)
    if (login === undefined) logins.set(name, login = { refused: new Set() })
    known.set(name, token = new Token(module, where, found, login, max))
  }
  return token
}

function findSlot(module: Cryptoki, where: TokenUri): Found {
  let present: Found[]
  try {
    initialize(module)
    present = module.C_GetSlotList(true).flatMap((slot) => {
      try {
        return [readSlot(module, slot)]
      } catch {
        return [] // a slot that is just being emptied
      }
    })
  } catch (error) {
    throw faultOf(error, 'C_GetSlotList')
  }
  const tokens = present.filter(({ info }) => info.flags & CK.token.initialized)
  const matching = tokens.filter(({ slot, label, serial, info }) =>
    fits(where.token, label) && fits(where.serial, serial) &&
    fits(where.model, unpad(info.model)) &&
    fits(where.manufacturer, unpad(info.manufacturerID)) && fits(where.slotId, slotId(slot))
  )
  const [found] = matching
  if (found === undefined) {
    const labels = tokens.map(({ label }) => JSON.stringify(label)).join(', ')
    throw new SignetError('key_backend_unavailable', 'no such PKCS#11 token is present', {
      remedy: labels === '' ? 'the module shows no token at all' : `present are ${labels}`,
    })
  }
  if (matching.length > 1) {
    throw new SignetError('key_ambiguous', `${matching.length} PKCS#11 tokens match the URI`, {
      remedy: 'add token=, serial= or slot-id=',
    })
  }
  return found
}

function readSlot(module: Cryptoki, slot: Handle): Found {
  const info = module.C_GetTokenInfo(slot)
  return { slot, info, label: unpad(info.label), serial: unpad(info.serialNumber) }
}

/** Texts are padded with blanks (PKCS#11 §3.3); some software pads with zeros. */
function unpad(text: string): string {
  // deno-lint-ignore no-control-regex -- zeros are what is cut off
  return text.replace(/[ \u0000]+$/, '')
}

function fits<T>(wanted: T | undefined, found: T): boolean {
  return wanted === undefined || wanted === found
}

/** CK_SLOT_ID, an unsigned long in the machine's byte order; all machines that we run on are little-endian. */
function slotId(slot: Handle): number {
  return slot.length >= 8 ? Number(slot.readBigUInt64LE()) : slot.readUInt32LE()
}
