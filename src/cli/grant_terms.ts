/** What a grant is to allow, as it is given on a command line: files of JSON, and times. */
import { InvalidArgumentError } from 'commander'
import {
  capabilityToJson,
  type LimitsJson,
  parseCapability,
  parseLimits,
  type ToolsJson,
} from '../grants/mod.ts'
import { type JsonValue, parseJson } from '../json.ts'
import type { Run } from './context.ts'

const MAX_FILE = 2 ** 20

/** Tools with constraints on their arguments, out of a file. */
export async function toolsOf(run: Run, file: string): Promise<ToolsJson> {
  return capabilityToJson(parseCapability(await readJson(run, file)))
}

/** Limits, out of a file. */
export async function limitsOf(run: Run, file: string): Promise<LimitsJson> {
  const json = await readJson(run, file)
  parseLimits(json)
  return json as LimitsJson
}

async function readJson(run: Run, file: string): Promise<JsonValue> {
  return parseJson(await run.backends.readFile(file, MAX_FILE), { what: file, maxDepth: 128 })
}

/** Seconds of `90`, `15m`, `12h`, `7d`. */
export function duration(text: string): number {
  const [, number, unit = 's'] = /^([0-9]{1,9})([smhd]?)$/.exec(text) ?? []
  const factor = { s: 1, m: 60, h: 3600, d: 86400 }[unit || 's']
  if (number === undefined || factor === undefined || Number(number) === 0) {
    throw new InvalidArgumentError('not a time: seconds, or 30m, 12h, 7d')
  }
  return Number(number) * factor
}
