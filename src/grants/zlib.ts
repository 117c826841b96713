/**
 * ZLIB (RFC 1950) as status lists need it: packed small for what is mostly runs, and unpacked with a bound.
 *
 * The platform's `CompressionStream` cannot be told how hard to try, and each runtime packs differently; the
 * packer here gives the same bytes everywhere, and fewer of them: it looks for runs of one byte and nothing
 * else, and spends its effort on the Huffman codes (RFC 1951 §3.2).
 */
import { type Bytes, owned } from '../bytes.ts'
import { SignetError } from '../errors.ts'

/** CMF and FLG: deflate, a window of 32 KiB, packed as well as could be. */
const HEADER = [0x78, 0xda]
const END = 256
const MAX_RUN = 258
/** Lengths of runs: symbol 257 + i stands for LENGTH_BASE[i] and so many extra bits. */
const LENGTH_EXTRA = Array.from({ length: 29 }, (_, i) => (i < 8 || i === 28 ? 0 : (i - 4) >> 2))
const LENGTH_BASE = LENGTH_EXTRA.reduce<number[]>(
  (bases, extra) => [...bases, bases.at(-1)! + 2 ** extra],
  [3],
).slice(0, 28).concat(MAX_RUN)
/** The order in which lengths of code-length codes are written (RFC 1951 §3.2.7). */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
/** The fixed code (RFC 1951 §3.2.6). */
const FIXED = Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8))

/** From which length on a run is written as one: what suits depends on how common the byte is. */
const SHORTEST_RUNS = [3, 4, 5, 6, 7, 8, 10, 12, 16]

/** Packs bytes. The result depends on nothing but them. */
export function deflate(bytes: Uint8Array): Bytes {
  const plans = SHORTEST_RUNS.map((shortest) => planOf(runsOf(bytes, shortest)))
  const { tokens, code, fixed, description } = plans.reduce((a, b) => (b.bits < a.bits ? b : a))
  const out = new BitWriter(HEADER)
  out.write(1, 1) // the last block
  out.write(fixed ? 1 : 2, 2)
  if (!fixed) description.write(out)
  const codes = codesOf(code)
  for (const token of tokens) {
    const symbol = symbolOf(token)
    out.code(codes[symbol]!)
    if (symbol <= END) continue
    const index = symbol - 257
    out.write(token - 512 - LENGTH_BASE[index]!, LENGTH_EXTRA[index]!)
    out.write(0, fixed ? 5 : 1) // distance 1
  }
  return out.end(adler32(bytes))
}

/** The better code for some tokens, and what writing them with it costs. */
function planOf(tokens: readonly number[]) {
  const counts = new Array<number>(286).fill(0)
  for (const token of tokens) counts[symbolOf(token)]!++
  const own = codeLengths(counts, 15)
  const description = describe(own)
  const cost = (code: readonly number[], distance: number) =>
    counts.reduce((sum, count, symbol) => {
      const extra = symbol > END ? LENGTH_EXTRA[symbol - 257]! + distance : 0
      return sum + count * (code[symbol]! + extra)
    }, 0)
  const [plain, tailored] = [cost(FIXED, 5), cost(own, 1) + description.bits]
  const fixed = plain <= tailored
  return { tokens, fixed, description, code: fixed ? FIXED : own, bits: Math.min(plain, tailored) }
}

/** Literals 0 to 255, the end, and runs of the byte before as 512 + length. */
function runsOf(bytes: Uint8Array, shortest: number): number[] {
  const tokens: number[] = []
  for (let at = 0; at < bytes.length;) {
    const byte = bytes[at]!
    let end = at + 1
    while (end < bytes.length && bytes[end] === byte) end++
    tokens.push(byte)
    let run = end - at - 1
    while (run >= shortest) {
      const length = Math.min(run, MAX_RUN)
      tokens.push(512 + length)
      run -= length
    }
    for (; run > 0; run--) tokens.push(byte)
    at = end
  }
  tokens.push(END)
  return tokens
}

/** Symbols of runs by their length. */
const RUN_SYMBOLS = Array.from({ length: MAX_RUN + 1 }, (_, run) => {
  const index = LENGTH_BASE.findLastIndex((base) => base <= run)
  return 257 + index
})

function symbolOf(token: number): number {
  return token < 512 ? token : RUN_SYMBOLS[token - 512]!
}

/** Lengths of a Huffman code, none above `limit`. A symbol that does not occur has length 0. */
function codeLengths(counts: readonly number[], limit: number): number[] {
  for (let scale = 1;; scale *= 2) {
    const lengths = huffman(counts.map((count) => Math.ceil(count / scale)))
    // Flatter counts make a shallower tree.
    if (Math.max(...lengths) <= limit) return lengths
  }
}

function huffman(counts: readonly number[]): number[] {
  const lengths = counts.map(() => 0)
  interface Tree {
    readonly count: number
    readonly symbols: readonly number[]
  }
  const queue: Tree[] = counts.flatMap((count, symbol) =>
    count > 0 ? [{ count, symbols: [symbol] }] : []
  )
  if (queue.length === 1) lengths[queue[0]!.symbols[0]!] = 1
  const order = (a: Tree, b: Tree) => b.count - a.count || b.symbols[0]! - a.symbols[0]!
  queue.sort(order)
  while (queue.length > 1) {
    const [a, b] = [queue.pop()!, queue.pop()!]
    const joined = { count: a.count + b.count, symbols: [...a.symbols, ...b.symbols] }
    for (const symbol of joined.symbols) lengths[symbol]!++
    let at = queue.length
    while (at > 0 && order(queue[at - 1]!, joined) > 0) at--
    queue.splice(at, 0, joined)
  }
  return lengths
}

interface Code {
  readonly bits: number
  readonly length: number
}

/** The codes of lengths (RFC 1951 §3.2.2), turned round: they are written from their highest bit on. */
function codesOf(lengths: readonly number[]): Code[] {
  const next: number[] = [0]
  for (let length = 1, code = 0; length <= 15; length++) {
    code = (code + (length === 1 ? 0 : lengths.filter((one) => one === length - 1).length)) << 1
    next[length] = code
  }
  return lengths.map((length) => {
    let bits = 0
    if (length > 0) {
      for (let i = 0, code = next[length]!++; i < length; i++, code >>= 1) {
        bits = bits << 1 | code & 1
      }
    }
    return { bits, length }
  })
}

/** The lengths of the code as a dynamic block begins with them (RFC 1951 §3.2.7). */
function describe(lengths: readonly number[]): { bits: number; write(out: BitWriter): void } {
  const count = Math.max(257, lengths.findLastIndex((length) => length > 0) + 1)
  const all = [...lengths.slice(0, count), 1] // and one distance code, of one bit
  const parts: { symbol: number; extra: number; width: number }[] = []
  for (let at = 0; at < all.length;) {
    const length = all[at]!
    let run = 1
    while (all[at + run] === length) run++
    if (length === 0 && run >= 3) {
      run = Math.min(run, 138)
      const long = run > 10
      parts.push({
        symbol: long ? 18 : 17,
        extra: run - (long ? 11 : 3),
        width: long ? 7 : 3,
      })
    } else if (length > 0 && run >= 4) {
      run = Math.min(run, 7)
      parts.push({ symbol: length, extra: 0, width: 0 }, { symbol: 16, extra: run - 4, width: 2 })
    } else {
      run = 1
      parts.push({ symbol: length, extra: 0, width: 0 })
    }
    at += run
  }
  const counts = new Array<number>(19).fill(0)
  for (const { symbol } of parts) counts[symbol]!++
  const inner = codeLengths(counts, 7)
  const written = Math.max(4, ORDER.findLastIndex((symbol) => inner[symbol]! > 0) + 1)
  const bits = parts.reduce((sum, { symbol, width }) => sum + inner[symbol]! + width, 0)
  return {
    bits: 14 + 3 * written + bits,
    write(out) {
      out.write(count - 257, 5)
      out.write(0, 5)
      out.write(written - 4, 4)
      for (const symbol of ORDER.slice(0, written)) out.write(inner[symbol]!, 3)
      const codes = codesOf(inner)
      for (const { symbol, extra, width } of parts) {
        out.code(codes[symbol]!)
        out.write(extra, width)
      }
    },
  }
}

class BitWriter {
  readonly #bytes: number[]
  #held = 0
  #width = 0

  constructor(head: readonly number[]) {
    this.#bytes = [...head]
  }

  write(value: number, width: number): void {
    this.#held |= value << this.#width
    this.#width += width
    for (; this.#width >= 8; this.#width -= 8) {
      this.#bytes.push(this.#held & 255)
      this.#held >>>= 8
    }
  }

  code({ bits, length }: Code): void {
    this.write(bits, length)
  }

  end(sum: number): Bytes {
    if (this.#width > 0) this.#bytes.push(this.#held & 255)
    const tail = new DataView(new ArrayBuffer(4))
    tail.setUint32(0, sum)
    return Uint8Array.from([...this.#bytes, ...new Uint8Array(tail.buffer)])
  }
}

/** The checksum of RFC 1950 §9. */
export function adler32(bytes: Uint8Array): number {
  let [a, b] = [1, 0]
  for (let at = 0; at < bytes.length;) {
    // So many sums fit before the remainder must be taken.
    for (const end = Math.min(bytes.length, at + 3800); at < end; at++) {
      a += bytes[at]!
      b += a
    }
    a %= 65521
    b %= 65521
  }
  return (b * 65536 + a) >>> 0
}

/** The unpacker is fed so little at once that even the tightest packing makes no more than a megabyte of it. */
const FEED = 1024

/**
 * Unpacks bytes to at most `maxBytes`. Whatever makes more is given up as soon as it does. The checksum is
 * compared here: not every runtime minds when it is cut off.
 *
 * Errors: `too_large`; `encoding_invalid` for what is not one whole ZLIB stream.
 */
export async function inflate(packed: Uint8Array, maxBytes: number): Promise<Bytes> {
  const { readable, writable } = new DecompressionStream('deflate')
  const writer = writable.getWriter()
  const reader = readable.getReader()
  writer.closed.catch(() => {}) // told by what is read and written
  const feeding = (async () => {
    for (let at = 0; at < packed.length; at += FEED) {
      await writer.write(owned(packed.slice(at, at + FEED)))
    }
    await writer.close()
  })()
  feeding.catch(() => {}) // looked at below, once all is read
  let out = new Uint8Array(Math.min(maxBytes, 4 * packed.length + 1024))
  let length = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      if (length + value.length > maxBytes) {
        throw new SignetError('too_large', `it unpacks to more than ${maxBytes} bytes`)
      }
      if (length + value.length > out.length) {
        const larger = new Uint8Array(Math.min(maxBytes, 2 * (length + value.length)))
        larger.set(out.subarray(0, length))
        out = larger
      }
      out.set(value, length)
      length += value.length
    }
    await feeding
  } catch (cause) {
    reader.cancel().catch(() => {})
    writer.abort().catch(() => {})
    if (cause instanceof SignetError) throw cause
    throw new SignetError('encoding_invalid', 'it is no ZLIB stream', { cause })
  }
  const bytes = out.slice(0, length)
  const tail = new DataView(owned(packed).buffer, packed.byteOffset, packed.length)
  if (packed.length < 6 || tail.getUint32(packed.length - 4) !== adler32(bytes)) {
    throw new SignetError('encoding_invalid', 'it is not a whole ZLIB stream: the checksum differs')
  }
  return bytes
}
