/** What the pages' REST clients share: this page's server, a bearer token, and JSON both ways. */

import { askJson } from "../bicast/ask";
import { problemOf, unreachable } from "../bicast/problem";
import { FeedsClient } from "./feeds-client";

/** Longer than a busy server takes, so that one hung request does not stop a page that asks once a second. */
const TIMEOUT_MS = 5_000;

/** A client of routes that only operators and the demo need; the player's own are in `BicastApi`. */
export class RestClient {
  /** Feeds and times, with the same token. */
  readonly feeds: FeedsClient;

  /** `server` is the origin (and base path) of a bicast server. */
  constructor(
    server: string,
    readonly token: string | null = null,
  ) {
    this.feeds = new FeedsClient(server, token);
  }

  /** What `path` has. */
  protected get<T>(path: string, parse: (json: unknown) => T): Promise<T> {
    return askJson(this.feeds.url(path), parse, this.#init("GET"));
  }

  /** What `path` answers to this. */
  protected send<T>(
    method: "POST" | "PATCH",
    path: string,
    body: object,
    parse: (json: unknown) => T,
  ): Promise<T> {
    return askJson(this.feeds.url(path), parse, this.#init(method, body));
  }

  /** Ends what is at `path`. `keepalive`: also while the page goes away. */
  protected async remove(path: string, keepalive = false): Promise<void> {
    const url = this.feeds.url(path);
    const response = await fetch(url, { ...this.#init("DELETE"), keepalive }).catch((cause: unknown) => {
      throw unreachable(url, cause);
    });
    if (!response.ok) throw await problemOf(response);
  }

  #init(method: string, body?: object): RequestInit {
    const headers: Record<string, string> = { accept: "application/json" };
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    if (body) headers["content-type"] = "application/json";
    const init: RequestInit = { method, headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) };
    return body ? { ...init, body: JSON.stringify(body) } : init;
  }
}
