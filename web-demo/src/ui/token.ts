/** Tokens that a person gives a page, where the server wants them. They stay in this tab's session storage and nowhere else. */

import type { BicastError } from "../bicast/problem";
import { h, setText } from "./dom";
import { command, problemNotice } from "./parts";

/** For what a page wants one. */
export type TokenKind = "admin" | "watch";

const key = (kind: TokenKind) => `bicast-token-${kind}`;
/** RFC 6750, b64token: anything else cannot stand in a header. */
const TOKEN = /^[\w.~+/-]+=*$/;

/** The token that was given in this tab. */
export function storedToken(kind: TokenKind): string | null {
  try {
    return sessionStorage.getItem(key(kind));
  } catch {
    return null;
  }
}

/** Keeps a token for this tab, or forgets it. */
export function keepToken(kind: TokenKind, token: string | null): void {
  try {
    if (token === null) sessionStorage.removeItem(key(kind));
    else sessionStorage.setItem(key(kind), token);
  } catch {
    // Storage is forbidden: the token holds until the page is left.
  }
}

/** Whether an answer says that another token would help. */
export function wantsToken(error: BicastError): boolean {
  return error.problem.status === 401 || error.problem.status === 403;
}

/** Asks for a token; `problem` is what the server said to the request without one. */
export function tokenForm(
  kind: TokenKind,
  problem: BicastError,
  onToken: (token: string) => void,
): HTMLElement {
  const input = h("input", {
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "data-testid": "token",
  });
  const wrong = h("p", { class: "hint", role: "alert" });
  const form = h(
    "form",
    { class: "token-form" },
    h("label", { class: "field" }, h("span", {}, "Token"), input, wrong),
    h("button", { class: "button primary", type: "submit", "data-testid": "token-use" }, "Use it"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const token = input.value.trim();
    if (!TOKEN.test(token)) {
      setText(wrong, "That is no token: it has characters that no token has.");
      return;
    }
    keepToken(kind, token);
    onToken(token);
  });
  const mint =
    kind === "admin"
      ? "bicast token mint --feed '*' --rights admin"
      : "bicast token mint --feed demo --rights watch --tier vip --viewer anna";
  return h(
    "section",
    { class: "card stack token", "aria-label": "Token", "data-testid": `token-${kind}` },
    h(
      "h2",
      {},
      kind === "admin" ? "This server wants an operator's token" : "This server wants a viewer's token",
    ),
    problemNotice(problem, problem.problem.status === 401 ? "info" : "error"),
    form,
    command(
      "Make one",
      mint,
      "where the server's key is set. It stays in this tab and is forgotten with it.",
    ),
  );
}
