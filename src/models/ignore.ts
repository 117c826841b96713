/**
 * What a seal leaves out (OMS v1.0 §6.2): paths and everything below them, compared letter by letter. No
 * patterns: a reader must see at once what is not covered.
 */
import { checkName } from './name.ts'

/** Left out by default, at the top of the model only. */
export const DEFAULT_IGNORES: readonly string[] = [
  '.git',
  '.gitattributes',
  '.github',
  '.gitignore',
]

/** A test whether a path is one of `paths` or lies below one. Throws `name_invalid` for what is no path. */
export function pathSet(paths: Iterable<string>): (path: string) => boolean {
  const set = new Set(paths)
  set.forEach(checkName)
  return (path) => {
    for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
      if (set.has(path.slice(0, end))) return true
    }
    return false
  }
}
