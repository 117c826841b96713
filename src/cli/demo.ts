/** `signet demo`: the main job of a room on real input, in about a minute, for people to watch and CI to run. */
import type { Command } from 'commander'
import { action, common, group } from './command.ts'
import type { CliContext, CommonFlags, Run } from './context.ts'

type DemoFlags = CommonFlags & { readonly model?: string; readonly keep?: boolean }

interface Demo {
  readonly name: string
  readonly description: string
  /** It works on a model folder. */
  readonly model?: boolean
  readonly load: () => Promise<(run: Run, flags: DemoFlags) => Promise<number>>
}

const DEMOS: readonly Demo[] = [
  {
    name: 'seal',
    description: 'seal a real model, verify it, and see forgeries refused',
    model: true,
    load: async () => (await import('./demo_seal.ts')).demoSeal,
  },
  {
    name: 'hsm',
    description: 'seal a real model with keys in a token and in a KMS, and see them fail',
    model: true,
    load: async () => (await import('./demo_hsm.ts')).demoHsm,
  },
  {
    name: 'log',
    description: 'kill the writer of a log, prove an entry, and see three ways of cheating noticed',
    load: async () => (await import('./demo_log.ts')).demoLog,
  },
  {
    name: 'offline',
    description:
      'give an agent authority, cut the network, let it act, and take the authority back',
    load: async () => (await import('./demo_offline.ts')).demoOffline,
  },
]

/** The group. */
export function demoCommands(context: CliContext): Command {
  const demos = group(context, 'demo', 'the main job of a room on real input, to watch')
  for (const { name, description, model, load } of DEMOS) {
    const demo = common(demos.command(name)).description(description)
    if (model) {
      demo.option('--model <folder>', "a model folder; default: that of npm's @vladmandic/face-api")
    }
    demo.option('--keep', 'keep the working folder')
      .action(action(context, async (run, flags: DemoFlags) => await (await load())(run, flags)))
  }
  return demos
}
