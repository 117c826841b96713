/** The bar: bytes, throughput and time left, on a terminal and only when the work is long enough to wait for. */
import type { Progress } from '../models/mod.ts'
import type { Run } from './context.ts'
import { formatBytes, formatDuration } from './text.ts'

/** A bar that was not asked to draw anything yet. */
export interface ProgressBar {
  /** Takes the state of the work; draws at most ten times a second. */
  update(progress: Progress): void
  /** Wipes the line. */
  end(): void
}

const DELAY = 400
const INTERVAL = 100

/** A bar for one piece of work. Draws nothing unless standard error is a terminal. */
export function progressBar(
  run: Run,
  label: string,
  quiet: boolean = false,
  start: number = Date.now(),
): ProgressBar {
  const { terminal } = run
  if (!terminal.interactive || run.json || quiet) return { update() {}, end() {} }
  let drawn = 0
  return {
    update(progress) {
      const now = Date.now()
      if (now - start < DELAY || now - drawn < INTERVAL) return
      drawn = now
      const line = progressLine(label, progress, (now - start) / 1000, terminal.columns)
      terminal.err(`\r\x1b[2K${line}`)
    },
    end() {
      if (drawn > 0) terminal.err('\r\x1b[2K')
    },
  }
}

/** One state of the bar, at most `columns` wide. */
export function progressLine(
  label: string,
  { bytes, totalBytes, files, totalFiles }: Progress,
  seconds: number,
  columns: number,
): string {
  const rate = bytes / Math.max(seconds, 0.001)
  const share = totalBytes === 0 ? 1 : bytes / totalBytes
  const left = rate > 0 ? formatDuration((totalBytes - bytes) / rate) : '?'
  const tail = ` ${Math.floor(share * 100)}% ${formatBytes(bytes)} of ${formatBytes(totalBytes)}` +
    ` (${files}/${totalFiles}) ${formatBytes(rate)}/s, ${left} left`
  const room = Math.min(30, columns - label.length - tail.length - 4)
  if (room < 5) return (label + tail).slice(0, columns - 1)
  const full = Math.round(share * room)
  return `${label} [${'#'.repeat(full)}${'.'.repeat(room - full)}]${tail}`
}
