/** JSON as Python's `json.dumps` writes it with its defaults: ASCII alone, floats by `repr`. */
import { SignetError } from '../../errors.ts'

/** A number that Python holds as float although it is whole: `1.0`, not `1`. */
export class PythonFloat {
  /** The number. */
  readonly value: number

  /** Errors: `json_number_unsafe` (not finite). */
  constructor(value: number) {
    if (!Number.isFinite(value)) {
      throw new SignetError('json_number_unsafe', 'JSON has no such number')
    }
    this.value = value
  }
}

/** What can stand in the metadata of a Python entry. */
export type PythonJson =
  | null
  | boolean
  | number
  | bigint
  | string
  | PythonFloat
  | readonly PythonJson[]
  | { readonly [name: string]: PythonJson | undefined }

const MAX_DEPTH = 60

/**
 * Compact JSON, names in the order given. A number is an int if it is a safe integer, else a float.
 * Errors: `json_number_unsafe`, `json_surrogate`, `json_too_deep`.
 */
export function pythonJson(value: PythonJson, depth: number = 0): string {
  if (depth > MAX_DEPTH) throw new SignetError('json_too_deep', 'metadata is nested too deep')
  if (value === null || typeof value === 'boolean' || typeof value === 'bigint') {
    return String(value)
  }
  if (typeof value === 'string') return pythonText(value)
  if (value instanceof PythonFloat) return pythonFloat(value.value)
  if (typeof value === 'number') {
    return Number.isSafeInteger(value) && !Object.is(value, -0)
      ? String(value)
      : pythonFloat(new PythonFloat(value).value)
  }
  if (Array.isArray(value)) {
    return `[${value.map((item: PythonJson) => pythonJson(item, depth + 1)).join(',')}]`
  }
  if (typeof value !== 'object') throw new TypeError('not a JSON value')
  const members = Object.entries(value).flatMap(([name, member]) =>
    member === undefined ? [] : [`${pythonText(name)}:${pythonJson(member, depth + 1)}`]
  )
  return `{${members.join(',')}}`
}

/**
 * `repr` of a float: the shortest digits that give it back, as ECMAScript has them, but with a point in every
 * number, an exponent below 1e-4 and from 1e16 on, and at least two digits in it (Python's `float_repr_style`).
 */
export function pythonFloat(value: number): string {
  const sign = value < 0 || Object.is(value, -0) ? '-' : ''
  if (value === 0) return `${sign}0.0`
  const [digits = '', power = '0'] = Math.abs(value).toExponential().split('e')
  const exponent = Number(power)
  if (exponent < -4 || exponent >= 16) {
    const size = String(Math.abs(exponent)).padStart(2, '0')
    return `${sign}${digits}e${exponent < 0 ? '-' : '+'}${size}`
  }
  const plain = digits.replace('.', '')
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${plain}`
  const whole = plain.slice(0, exponent + 1).padEnd(exponent + 1, '0')
  return `${sign}${whole}.${plain.slice(exponent + 1) || '0'}`
}

function pythonText(text: string): string {
  if (!text.isWellFormed()) {
    throw new SignetError('json_surrogate', 'text holds a lone surrogate')
  }
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** True for a JSON value without what only Python has. */
export function isPlainJson(value: PythonJson): boolean {
  if (typeof value === 'bigint' || value instanceof PythonFloat) return false
  if (typeof value !== 'object' || value === null) return true
  return Object.values(value).every((member) => member === undefined || isPlainJson(member))
}
