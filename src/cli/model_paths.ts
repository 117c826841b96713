/** Where things are around a model: its bundles, and paths inside it as a seal names them. */
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { SignetError } from '../errors.ts'

/** Paths of one model. */
export interface ModelPaths {
  /** Name of the folder or file. */
  readonly name: string
  /** Path of a bundle by default, `model.sig` or `model.<label>.sig`; of a single file `<file>.sig`. */
  bundle(label?: string): string
  /** A path that the user named, relative to the model or to here, as the seal names it. */
  inside(path: string): string
  /** The name in the seal of a file, if it lies in the model: one or none. */
  within(file: string): string[]
}

/** The paths of a model folder, or of a model of one file. */
export function modelPaths(model: string, isFolder: boolean): ModelPaths {
  const root = isFolder ? resolve(model) : dirname(resolve(model))
  const name = basename(resolve(model))
  const within = (file: string) => {
    const path = relative(root, resolve(file)).split(sep).join('/')
    return path === '' || path === '..' || path.startsWith('../') ? [] : [path]
  }
  return {
    name,
    bundle: (label) => {
      const ending = label === undefined ? 'sig' : `${label}.sig`
      return isFolder ? join(model, `model.${ending}`) : `${model}.${ending}`
    },
    inside: (path) => {
      const plain = path.split(sep).join('/').replace(/^\.\//, '').replace(/\/+$/, '')
      if (!plain.startsWith('/') && !/(?:^|\/)\.\.(?:\/|$)/.test(plain)) return plain
      const [found] = within(path)
      if (found !== undefined) return found
      throw new SignetError('usage_invalid', `${path} does not lie in the model`)
    },
    within: (file) => isFolder ? within(file) : [],
  }
}
