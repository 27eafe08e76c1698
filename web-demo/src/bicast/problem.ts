/**
 * What can go wrong, in words for a person: RFC 9457 problem+json as bicast answers it, and the same shape for failures that
 * never reached a server. `detail` names what was wrong, `hint` the next step.
 */

/** A problem as bicast's HTTP interface tells it. */
export interface Problem {
  /** A short stable name: `/problems/unknown-feed`. */
  readonly type: string;
  /** The kind of problem in words. */
  readonly title: string;
  /** The HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** This occurrence. */
  readonly detail: string;
  /** What to do next. */
  readonly hint: string | null;
}

/** An error that carries a {@link Problem}. */
export class BicastError extends Error {
  override readonly name = "BicastError";

  constructor(
    readonly problem: Problem,
    /** How long the server asked to wait before the next try, in milliseconds (Retry-After). */
    readonly retryAfterMs: number | null = null,
  ) {
    super(problem.detail);
  }

  /** Whether the same request can succeed later without anybody changing it. */
  get retryable(): boolean {
    const { status } = this.problem;
    return status === 0 || status === 404 || status === 409 || status === 429 || status >= 500;
  }
}

/** The problem in an HTTP answer that is not a success. Reads the body; takes any body. */
export async function problemOf(response: Response): Promise<BicastError> {
  const text = await response.text().catch(() => "");
  return new BicastError(
    parseProblem(text, response.status, response.statusText),
    retryAfter(response.headers.get("retry-after")),
  );
}

/** The problem that `body` tells, or one made from the status where the body tells none. Pure. */
export function parseProblem(body: string, status: number, statusText = ""): Problem {
  const told = tryJson(body);
  const text = (key: string): string | null => {
    const value = told?.[key];
    return typeof value === "string" && value !== "" ? value : null;
  };
  return {
    type: text("type") ?? "about:blank",
    title: text("title") ?? (statusText || `HTTP ${status}`),
    status,
    detail: text("detail") ?? `The server answered ${status}${statusText ? ` ${statusText}` : ""}.`,
    hint: text("hint"),
  };
}

/** The problem of a request that got no answer at all. */
export function unreachable(url: string, cause: unknown): BicastError {
  const { origin } = new URL(url, globalThis.location?.href ?? "http://localhost");
  const hint = "Check that bicast serve is running and that this machine reaches it; this page keeps trying.";
  return localProblem("Server unreachable", `${origin} does not answer.`, hint, 0, cause);
}

/** A problem that arose in this browser. With a status that can pass (0, 5xx) it is tried again. */
export function localProblem(
  title: string,
  detail: string,
  hint: string | null = null,
  status = 400,
  cause?: unknown,
): BicastError {
  const error = new BicastError({ type: "about:blank", title, status, detail, hint });
  error.cause = cause;
  return error;
}

/** Any thrown value as a {@link BicastError}. */
export function toBicastError(thrown: unknown): BicastError {
  if (thrown instanceof BicastError) return thrown;
  const detail = thrown instanceof Error ? thrown.message : String(thrown);
  return localProblem("Something failed in this browser", detail, null, 400, thrown);
}

/** Milliseconds of a Retry-After header (seconds or an HTTP date), at most a minute; null where there is none. */
function retryAfter(header: string | null): number | null {
  if (header === null) return null;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 60_000) : null;
}

function tryJson(body: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
