/** Where this user's programs keep what they remember. */
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import process from 'node:process'

/**
 * Where this user's programs keep state: `$XDG_STATE_HOME/signet` or `~/.local/state/signet` (XDG Base
 * Directory 0.8), on macOS `~/Library/Application Support/signet`, on Windows `%LOCALAPPDATA%\signet`.
 */
export function stateFolder(): string {
  const { XDG_STATE_HOME: xdg = '', LOCALAPPDATA: local } = process.env
  // XDG: "If an implementation encounters a relative path … it should consider the path invalid".
  if (isAbsolute(xdg)) return join(xdg, 'signet')
  if (process.platform === 'win32') return join(local ?? homedir(), 'signet')
  if (process.platform === 'darwin') {
    return join(homedir(), 'Library', 'Application Support', 'signet')
  }
  return join(homedir(), '.local', 'state', 'signet')
}
