/**
 * What a command needs of the world: backends that `cli.ts` puts in, and the three streams. Tests hand
 * in their own.
 */
import type { Fetch, GatewayStore } from '../gateway/mod.ts'
import type { DeviceStorage } from '../grants/mod.ts'
import type { Keyring } from '../keys/mod.ts'
import type { FileTree, PublishersMemory } from '../models/mod.ts'
import type { BundleChecker, LogAnchor, LogStorage, Sha256, WitnessStore } from '../log/mod.ts'

/** Options of key providers, from the flags of a command. */
export interface ProviderOptions {
  /** Asked when a key turns out to be encrypted, or is to be; `purpose` names what for. None: undefined. */
  passphrase(purpose: string): Promise<string | undefined>
  /** Keys may lie in the clear. */
  readonly insecureClearKey: boolean
  /** Says something that the user should know. */
  warn(message: string): void
}

/** An optional part and whether it is there. */
export interface Part {
  readonly name: string
  readonly state: string
}

/** The world behind the command line. Everything is loaded when first used: a verification must start fast. */
export interface Backends {
  /** A folder or a single file as tree. */
  openTree(
    path: string,
    options: { readonly workers?: number | undefined; readonly insecureFollowSymlinks?: boolean },
  ): Promise<FileTree>
  /** Whether there is something at a path. */
  exists(path: string): Promise<boolean>
  /** Whether a path is a folder; `file_unreadable` if there is nothing. */
  isFolder(path: string): Promise<boolean>
  /** A file's bytes, at most so many. */
  readFile(path: string, maxBytes: number): Promise<Uint8Array>
  /** Writes a file whole or not at all; refuses to overwrite unless told (`file_exists`). */
  writeFile(
    path: string,
    bytes: Uint8Array,
    options: { readonly overwrite?: boolean; readonly mode?: 0o600 | 0o644 },
  ): Promise<void>
  /** Replaces a file if it still is what was read, undefined: nothing (`publishers_conflict`). */
  replaceFile(path: string, bytes: Uint8Array, expected: Uint8Array | undefined): Promise<void>
  /** What this machine remembers of publishers files. */
  publishersMemory(): Promise<PublishersMemory>
  /** Name and version of the runtime. */
  readonly runtime: string
  /** Optional parts, for `signet doctor`. */
  inventory(): Promise<readonly Part[]>
  /** The sealed states of a device in a folder. */
  deviceStorage(folder: string): Promise<DeviceStorage>
  /** The anchor in a file, or of the log that a device's key (its thumbprint) has for a server. */
  deviceAnchor(
    of: { readonly file: string } | { readonly device: string; readonly issuer: string },
  ): Promise<LogAnchor & { readonly path: string }>
  /** The storage of a log in a folder. */
  logStorage(folder: string): Promise<LogStorage>
  /** The store of a gateway in a folder, which is made for its owner alone if need be. */
  gatewayStore(folder: string): Promise<GatewayStore & { close(): void }>
  /** Calls the public internet and no other place. */
  publicFetch(options: { readonly insecureLoopback?: boolean | undefined }): Promise<Fetch>
  /** What a witness remembers, in a file that is made if need be. */
  witnessStore(path: string): Promise<WitnessStore & { close(): void }>
  /** Answers HTTP until it is closed. `client` is the address that a request came from. */
  serveHttp(
    handler: (request: Request, info: { readonly client: string }) => Promise<Response>,
    options: {
      readonly host: string
      readonly port: number
      readonly onFault?: (error: unknown) => void
    },
  ): Promise<{ readonly url: string; close(): Promise<void> }>
  /** Checks the bundles of a log in a folder, on several threads where that is worth it. */
  logChecker(folder: string): Promise<BundleChecker>
  /** SHA-256 as fast as the platform can. */
  sha256(): Promise<Sha256>
  /** All providers of keys, after the flags of a command. */
  keyring(options: ProviderOptions): Promise<Keyring>
}

/** Streams of a command. */
export interface Terminal {
  /** The answer: standard output. */
  out(text: string): void
  /** Messages and progress: standard error. */
  err(text: string): void
  /** Whether standard error is a terminal, so that a bar can be drawn. */
  readonly interactive: boolean
  /** Columns of that terminal. */
  readonly columns: number
  /** Reads a line without echo; undefined where nobody can type. */
  askSecret?: ((prompt: string) => Promise<string>) | undefined
}

/** The context of a run. */
export interface CliContext {
  /** The world. */
  readonly backends: Backends
  /** The streams. */
  readonly terminal: Terminal
  /** Ends the run: Ctrl-C. */
  readonly signal?: AbortSignal | undefined
}

/** A run of one command: the context, and what its flags make of it. */
export interface Run extends CliContext {
  /** A machine-readable answer was asked for. */
  readonly json: boolean
  /** Opens keys with the passphrase flags of this command; for `fresh` ones a passphrase is typed twice. */
  keyring(fresh?: boolean): Promise<Keyring>
  /** Says something on standard error, unless `--quiet`. */
  say(text: string): void
  /** The answer: a value for `--json`, a text for people. */
  answer(value: unknown, text: string): void
}

/** Flags of every command. */
export interface CommonFlags {
  readonly json?: boolean
  readonly quiet?: boolean
  readonly passphraseFile?: string
  readonly passphraseFd?: number
  readonly insecureClearKey?: boolean
}
