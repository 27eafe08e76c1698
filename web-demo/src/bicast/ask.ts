/** A request for JSON: read where it enters, every failure in words for a person. */

import { WireError } from "./check";
import { localProblem, problemOf, unreachable } from "./problem";

/** What the server answers, read by `parse`. Rejects with a `BicastError`. */
export async function askJson<T>(url: string, parse: (json: unknown) => T, init: RequestInit): Promise<T> {
  const response = await fetch(url, init).catch((cause: unknown) => {
    throw unreachable(url, cause);
  });
  if (!response.ok) throw await problemOf(response);
  try {
    return parse(await response.json());
  } catch (cause) {
    const detail = cause instanceof WireError ? cause.message : "the body is not JSON";
    throw localProblem(
      "Unexpected answer",
      `${new URL(url).pathname}: ${detail}`,
      "The page and the server may be of different versions: reload the page.",
      502,
      cause,
    );
  }
}
