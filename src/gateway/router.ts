/** The router, and the little of it that routes see: which one it is concerns nobody else. */
import { type Context, Hono } from 'hono'
import type { PolicyDecision } from './decide.ts'

/** What a route gets. */
export interface RouteContext {
  /** The request's own name, and where its fault is noted for the operator's log. */
  readonly env: Noted
  /** The request. */
  readonly req: {
    /** As it came. */
    readonly raw: Request
    /** A part of the path, decoded; empty if the path has none of that name. */
    param(name: string): string
    /** A parameter of the query. */
    query(name: string): string | undefined
  }
}

/** What is noted with a request. */
export interface Noted {
  /** Its name in answers and logs. */
  readonly requestId: string
  /** What failed. */
  error: unknown
  /** What the policy said, where it was asked. */
  decision?: PolicyDecision | undefined
}

/** Answers requests to one route. What it throws becomes an answer too. */
export type RouteHandler = (context: RouteContext) => Response | Promise<Response>

/** Takes routes in. In a path `:name` stands for one segment, and `*` at the end for any rest. */
export interface Router {
  /** For GET, and with it HEAD. */
  get(path: string, handler: RouteHandler): void
  /** For POST. */
  post(path: string, handler: RouteHandler): void
  /** For PUT. */
  put(path: string, handler: RouteHandler): void
  /** For PATCH. */
  patch(path: string, handler: RouteHandler): void
  /** For DELETE. */
  delete(path: string, handler: RouteHandler): void
  /** For every method. */
  all(path: string, handler: RouteHandler): void
}

/** What becomes of requests that no route answers as it should. */
export interface Failures {
  /** There is no such path, or not with this method; `allowed` are those that it has. */
  missing(allowed: readonly string[], path: string, noted: Noted): Response
  /** A route threw. */
  failed(error: unknown, path: string, noted: Noted): Response
}

type Env = { Bindings: Noted }

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']

/** A router, filled by `fill`; answers requests. */
export function routed(
  fill: (router: Router) => void,
  failures: Failures,
): (request: Request, noted: Noted) => Promise<Response> {
  const app = new Hono<Env>()
  const on = (method: 'get' | 'post' | 'put' | 'patch' | 'delete' | 'all') =>
  (
    path: string,
    handler: RouteHandler,
  ) => void app[method](path, (context) => handler(contextOf(context)))
  fill({
    get: on('get'),
    post: on('post'),
    put: on('put'),
    patch: on('patch'),
    delete: on('delete'),
    all: on('all'),
  })
  app.notFound(({ req: { path }, env }) => {
    const allowed = METHODS.filter((method) => app.router.match(method, path)[0].length > 0)
    return failures.missing(allowed, path, env)
  })
  app.onError((error, { req, env }) => failures.failed(error, req.path, env))
  return async (request, noted) => await app.fetch(request, noted)
}

function contextOf({ req, env }: Context<Env>): RouteContext {
  return {
    env,
    req: {
      raw: req.raw,
      param: (name) => req.param(name) ?? '',
      query: (name) => req.query(name),
    },
  }
}
