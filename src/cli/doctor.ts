/** `signet doctor`: what runs on what here, and what is missing. */
import { Command } from 'commander'
import { ALGORITHMS } from '../algorithms.ts'
import { selfTest } from '../crypto/mod.ts'
import { action, common, EXIT_CODES } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'
import { table } from './text.ts'

interface Finding {
  readonly what: string
  readonly engine: string
  readonly remark: string
}

/** The command. */
export function doctorCommand(context: CliContext): Command {
  const doctor = new Command('doctor')
    .description('test every algorithm with known answers, and say what runs on what')
    .exitOverride()
    .configureOutput({ writeOut: context.terminal.out, writeErr: context.terminal.err })
  return common(doctor).action(action(context, examine))
}

async function examine(run: Run, _flags: CommonFlags): Promise<number> {
  const algorithms = await Promise.all(Object.values(ALGORITHMS).flatMap(findings))
  const parts = await run.backends.inventory()
  const ok = algorithms.every(({ engine }) => engine !== 'none')
  run.answer(
    { ok, runtime: run.backends.runtime, algorithms, parts },
    [
      `runtime    ${run.backends.runtime}`,
      '',
      table([['algorithm', 'engine', ''], ...algorithms.map(row)]),
      '',
      table([['part', 'state'], ...parts.map(({ name, state }) => [name, state])]),
    ].join('\n'),
  )
  return ok ? 0 : EXIT_CODES.backend
}

/** ML-DSA-65 is tested with a context too: that is the half of a composite. */
function findings(algorithm: typeof ALGORITHMS[keyof typeof ALGORITHMS]): Promise<Finding>[] {
  if (algorithm.family === 'composite') return []
  const variants = algorithm === ALGORITHMS['ML-DSA-65'] ? [false, true] : [false]
  return variants.map(async (context) => {
    const { engine, fault } = await selfTest(algorithm, context)
    return {
      what: algorithm.name + (context ? ' in composites' : ''),
      engine: engine?.name ?? 'none',
      remark: fault === undefined ? '' : `the platform's fails: ${fault}`,
    }
  })
}

function row({ what, engine, remark }: Finding): string[] {
  return [what, engine, remark]
}
