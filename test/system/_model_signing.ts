/** The reference implementation of OMS, PyPI's `model-signing`: `SIGNET_MODEL_SIGNING` names its program. */
import { dirname, join } from 'node:path'
import process from 'node:process'
import { type Declare, runScript, testsWith } from './_python.ts'

/** A test that needs the reference. */
export const referenceTest: Declare = testsWith('SIGNET_MODEL_SIGNING', 300_000)

/** What to have the reference do: a line of its command, or a call of its Python interface. */
export type Job =
  | readonly ['cli', ...string[]]
  /** method, hash, shard size, model, bundle, private key */
  | readonly ['sign', string, string, number, string, string, string]
  /** model, bundle, public key: the way of hashing is read from the bundle */
  | readonly ['verify', string, string, string]

/** What came of it. `error` is empty if all went well. */
export interface Done {
  readonly ok: boolean
  readonly error: string
}

// One process for all jobs: Python takes a second to load the package.
const SCRIPT = `
import contextlib, io, json, sys
from click.testing import CliRunner
from model_signing import _cli, hashing, signing, verifying

def run(kind, *args):
    if kind == 'cli':
        result = CliRunner().invoke(_cli.main, args)
        return result.exit_code == 0, result.output
    try:
        if kind == 'sign':
            method, digest, size, model, bundle, key = args
            config = hashing.Config()
            if method == 'shards':
                config.use_shard_serialization(hashing_algorithm=digest, shard_size=size)
            else:
                config.use_file_serialization(hashing_algorithm=digest)
            signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(config).sign(model, bundle)
        else:
            model, bundle, key = args
            verifying.Config().use_elliptic_key_verifier(public_key=key).verify(model, bundle)
        return True, ''
    except Exception as error:
        return False, repr(error)

done = []
for job in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()):
        done.append(run(*job))
json.dump([{'ok': ok, 'error': '' if ok else error} for ok, error in done], sys.stdout)
`

/** Has the reference do jobs, one after the other. */
export function reference(jobs: readonly Job[]): Done[] {
  return runScript(join(dirname(process.env.SIGNET_MODEL_SIGNING!), 'python'), SCRIPT, jobs)
}
