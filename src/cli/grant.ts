/** `signet grant`: give authority, pass on less of it, check it, and take it back. */
import type { Command } from 'commander'
import { group } from './command.ts'
import type { CliContext } from './context.ts'
import { withIssuing } from './grant_issue.ts'
import { withRevoking } from './grant_revoke.ts'
import { withGrantList } from './grant_server.ts'
import { withVerifying } from './grant_verify.ts'

const EXAMPLES = `
Examples:
  signet keys new --key issuer.pem --algorithm Ed25519
  signet keys new --key agent.pem --algorithm Ed25519
  signet keys show --key agent.pem --jwk > agent.jwk
  signet grant issue --key issuer.pem --issuer https://example.com --holder agent.jwk \\
      --scope calendar:read --lifetime 1h --depth 2 --out grant.txt
  signet grant narrow grant.txt --key agent.pem --holder helper.jwk --lifetime 5m --out less.txt
  signet grant verify less.txt --key issuer.pem --issuer https://example.com --tool calendar:read
  signet grant inspect less.txt
  signet grant revoke less.txt --key issuer.pem --list list.jwt
  signet grant list --server https://gateway.example --operator-key operator.key --agent agent_01
  signet grant revoke grant_01 --server https://gateway.example --operator-key operator.key --yes

A grant is a file with one token per line, the root first. It is no secret: without the key of its holder it is of
no use. A scope is a tool that may be called with any arguments; its name matches as it stands, without wildcards.
A --capability file holds tools with constraints on their arguments:
  {"read_file": {"path": {"constraint_type": "one_of", "values": ["/data/q3.pdf"]}}}
Taking back: give --status-uri and --status-index when issuing, and publish the list that grant revoke writes.
What a server gave, it takes back, with all that was made out of it.`

/** The group. */
export function grantCommands(context: CliContext): Command {
  const grant = group(
    context,
    'grant',
    'give authority, pass on less of it, check it, take it back',
  )
    .addHelpText('after', EXAMPLES)
  withIssuing(context, grant)
  withVerifying(context, grant)
  withRevoking(context, grant)
  withGrantList(context, grant)
  return grant
}
