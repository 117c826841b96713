/**
 * Names of files inside a model (OMS v1.0 §6.1.2): relative, `/`-separated, well-formed Unicode, no
 * normalisation. They are checked before any of them reaches a disk.
 */
import { quoted, SignetError } from '../errors.ts'

/** Longest name taken, in UTF-16 units; Linux's PATH_MAX. */
const MAX_LENGTH = 4096

/** What a name must not be, and why. */
const FAULTS: readonly [RegExp, string][] = [
  [/^$/, 'it is empty'],
  [/\0/, 'it holds a NUL'],
  [/\\/, 'it holds a backslash'],
  [/^\//, 'it is absolute'],
  [/\/$|\/\//, 'it has an empty component'],
  [/(?:^|\/)\.\.?(?:\/|$)/, 'it has a component "." or ".."'],
]

/** Throws `name_invalid` unless the name is one. */
export function checkName(name: string): void {
  const fault = name.length > MAX_LENGTH
    ? 'it is too long'
    : !name.isWellFormed()
    ? 'it is not well-formed Unicode'
    : FAULTS.find(([expression]) => expression.test(name))?.[1]
  if (fault === undefined) return
  const shown = quoted(name)
  throw new SignetError('name_invalid', `file name ${shown} is refused: ${fault}`, { where: shown })
}

/**
 * Throws `name_duplicate` when a name stands twice, and `name_collision` when two names would be one file on
 * a disk that folds case or normalises Unicode (Windows, macOS): what was checked there would not be what
 * was sealed. Names that collide can be let through where the disk is known to keep them apart.
 */
export function checkDistinct(names: Iterable<string>, allowCollisions: boolean = false): void {
  const folded = new Map<string, string>()
  const further = new Set<string>() // names that collide with one in the map, if they may
  for (const name of names) {
    const key = fold(name)
    const other = folded.get(key)
    if (other === undefined) {
      folded.set(key, name)
      continue
    }
    if (other === name || further.has(name)) {
      throw new SignetError('name_duplicate', `file name ${quoted(name)} stands twice`, {
        where: name,
      })
    }
    if (!allowCollisions) {
      throw new SignetError(
        'name_collision',
        `file names ${quoted(other)} and ${quoted(name)} differ in case or ` +
          'normalisation only',
        { where: name, remedy: 'rename one, or say --allow-case-collisions' },
      )
    }
    further.add(name)
  }
}

/**
 * One text for all names that some disk takes for one. Both cases, for a lower-case letter may have two capitals
 * or none ("Σ" has "σ" and "ς"; "ẞ", "ß" and "SS" are one), then normalised again, for letters of one case may
 * be composed where those of the other are not ("ǰ", "J̌").
 */
function fold(name: string): string {
  return name.normalize('NFC').toLowerCase().toUpperCase().normalize('NFC')
}

/**
 * Order by Unicode code point (OMS v1.0 §5.2.1). JavaScript compares UTF-16 units, which puts U+10000 and
 * above before U+E000.
 */
export function compareNames(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x === y) continue
    const surrogates = Number(isSurrogate(x)) - Number(isSurrogate(y))
    return surrogates !== 0 ? surrogates : x - y
  }
  return a.length - b.length
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff
}
