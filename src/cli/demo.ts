/** `signet demo`: the main job of a room on real input, in about a minute, for people to watch and CI to run. */
import type { Command } from 'commander'
import { action, common, group } from './command.ts'
import type { CliContext, CommonFlags } from './context.ts'

/** The group. */
export function demoCommands(context: CliContext): Command {
  const demo = group(context, 'demo', 'the main job of a room on real input, to watch')
  common(demo.command('seal'))
    .description('seal a real model, verify it, and see forgeries refused')
    .option('--model <folder>', "a model folder; default: that of npm's @vladmandic/face-api")
    .option('--keep', 'keep the working folder')
    .action(
      action(
        context,
        async (run, flags: CommonFlags & { model?: string; keep?: boolean }) =>
          await (await import('./demo_seal.ts')).demoSeal(run, flags),
      ),
    )
  common(demo.command('hsm'))
    .description('seal a real model with keys in a token and in a KMS, and see them fail')
    .option('--model <folder>', "a model folder; default: that of npm's @vladmandic/face-api")
    .option('--keep', 'keep the working folder')
    .action(
      action(
        context,
        async (run, flags: CommonFlags & { model?: string; keep?: boolean }) =>
          await (await import('./demo_hsm.ts')).demoHsm(run, flags),
      ),
    )
  common(demo.command('log'))
    .description('kill the writer of a log, prove an entry, and see three ways of cheating noticed')
    .option('--keep', 'keep the working folder')
    .action(
      action(
        context,
        async (run, flags: CommonFlags & { keep?: boolean }) =>
          await (await import('./demo_log.ts')).demoLog(run, flags),
      ),
    )
  return demo
}
