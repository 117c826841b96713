/**
 * The stage of a demo: runs real command lines of this program, shows them, and holds each outcome against
 * the one that was promised. A demo ends with 0 only if every promise was kept.
 */
import { main } from './main.ts'
import type { Run } from './context.ts'

/** A demo under way. */
export interface Stage {
  /** Says what comes next. */
  scene(title: string): void
  /**
   * Runs a command line and checks its exit code. Gives what it printed on standard output. `watch` hears what it says
   * on standard error while it runs.
   */
  command(
    args: readonly string[],
    expected: number,
    why: string,
    watch?: (text: string) => void,
  ): Promise<string>
  /** Holds something that was seen against what was promised. */
  check(ok: boolean, why: string): void
  /** Says how it went; the exit code of the demo. */
  end(): number
}

/** Opens a stage. */
export function stage(run: Run): Stage {
  const steps: { readonly why: string; readonly ok: boolean; readonly exit: number }[] = []
  const say = (text: string) => run.json ? undefined : run.terminal.out(text + '\n')
  return {
    scene: (title) => say(`\n== ${title}`),
    async command(args, expected, why, watch) {
      let [out, err] = ['', '']
      say(`$ signet ${args.map(shown).join(' ')}`)
      const terminal = {
        ...run.terminal,
        out: (text: string) => void (out += text),
        err(text: string) {
          err += text
          watch?.(text)
        },
        interactive: false,
      }
      const exit = await main(args, { ...run, terminal }, '')
      const ok = exit === expected
      steps.push({ why, ok, exit })
      say((out + err).trimEnd().split('\n').map((line) => '  ' + line).join('\n'))
      say(`  exit ${exit}: ${why}${ok ? '' : `  <-- ${expected} was expected`}`)
      return out
    },
    check(ok, why) {
      steps.push({ why, ok, exit: ok ? 0 : 2 })
      say(`  ${ok ? 'seen' : 'NOT SO'}: ${why}`)
    },
    end() {
      const failed = steps.filter(({ ok }) => !ok)
      const ok = failed.length === 0
      const verdict = ok
        ? `all ${steps.length} steps went as promised`
        : `${failed.length} of ${steps.length} steps went wrong: ${
          failed.map(({ why }) => why).join('; ')
        }`
      if (run.json) run.terminal.out(JSON.stringify({ ok, steps }, null, 2) + '\n')
      else say(`\n${verdict}`)
      return ok ? 0 : 2
    },
  }
}

function shown(arg: string): string {
  return /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg}'`
}
