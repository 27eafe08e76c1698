/** What the mock answers. */

/** An answer without a connection behind it, so that tests can look at it. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type: string;
  readonly location?: string;
}

/** JSON. */
export function json(status: number, body: object, type = "application/json"): Answer {
  return { status, body: JSON.stringify(body), type };
}

/** problem+json. */
export function problem(status: number, title: string, detail: string, hint?: string): Answer {
  return json(status, { type: "/problems/mock", title, status, detail, hint }, "application/problem+json");
}
