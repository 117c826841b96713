/** A comparison in words. */
import type { Comparison, FileReport } from '../models/mod.ts'
import { printable } from './text.ts'

/** The files that differ (or all), then the verdict and the sum. */
export function comparisonLines({ files, counts, ok }: Comparison, all: boolean): string[] {
  const shown = (file: FileReport) => all || file.status !== 'ok' && file.status !== 'ignored'
  const sum = (Object.entries(counts) as [string, number][])
    .filter(([status, count]) => count > 0 || status === 'ok')
    .map(([status, count]) => `${count} ${status}`)
  return [
    ...files.filter(shown).map(({ path, status, reason }) =>
      `  ${status.padEnd(8)}${printable(path)}${
        reason === undefined ? '' : `  (${printable(reason)})`
      }`
    ),
    `${ok ? 'VERIFIED' : 'NOT VERIFIED'}: ${sum.join(', ')}`,
  ]
}
