/** A request for JSON: read where it enters, every failure in words for a person. */

import { WireError } from "./check";
import { BicastError, problemOf, unreachable } from "./problem";

/** What the server answers, read by `parse`. Rejects with a {@link BicastError}. */
export async function askJson<T>(url: string, parse: (json: unknown) => T, init: RequestInit): Promise<T> {
  const response = await fetch(url, init).catch((cause: unknown) => {
    throw unreachable(url, cause);
  });
  if (!response.ok) throw await problemOf(response);
  try {
    return parse(await response.json());
  } catch (cause) {
    const detail = cause instanceof WireError ? cause.message : "the body is not JSON";
    const error = new BicastError({
      type: "about:blank",
      title: "Unexpected answer",
      status: 502,
      detail: `${new URL(url).pathname}: ${detail}`,
      hint: "The page and the server may be of different versions: reload the page.",
    });
    error.cause = cause;
    throw error;
  }
}
