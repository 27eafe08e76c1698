/**
 * Validation at the door: JSON from the network becomes typed values here or an error that names the member that was wrong.
 * Unknown members are ignored, so that an older page works with a newer server.
 */

/** JSON that is not what the contract says. */
export class WireError extends Error {
  override readonly name = "WireError";
}

/** Reads one kind of value; `at` is its path, for the error. */
export type Reader<T> = (value: unknown, at: string) => T;

const fail = (at: string, wanted: string, got: unknown): never => {
  const shown = JSON.stringify(got) ?? String(got);
  throw new WireError(
    `${at}: expected ${wanted}, got ${shown.length > 60 ? `${shown.slice(0, 60)}…` : shown}`,
  );
};

/** Any text. */
export const text: Reader<string> = (value, at) =>
  typeof value === "string" ? value : fail(at, "a text", value);

/** Any finite number. */
export const number: Reader<number> = (value, at) =>
  typeof value === "number" && Number.isFinite(value) ? value : fail(at, "a number", value);

/** True or false. */
export const boolean: Reader<boolean> = (value, at) =>
  typeof value === "boolean" ? value : fail(at, "true or false", value);

/** One of these texts. */
export const oneOf =
  <const T extends string>(...options: readonly T[]): Reader<T> =>
  (value, at) =>
    options.find((option) => option === value) ?? fail(at, options.join(" | "), value);

/** The value or null; a missing member counts as null. */
export const nullable =
  <T>(read: Reader<T>): Reader<T | null> =>
  (value, at) =>
    value === null || value === undefined ? null : read(value, at);

/** A list. */
export const list =
  <T>(read: Reader<T>): Reader<readonly T[]> =>
  (value, at) =>
    Array.isArray(value)
      ? value.map((item, index) => read(item, `${at}[${index}]`))
      : fail(at, "a list", value);

/** An object whose members have names of any kind and one kind of value. */
export const record =
  <T>(read: Reader<T>): Reader<Readonly<Record<string, T>>> =>
  (value, at) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, read(item, `${at}.${key}`)]))
      : fail(at, "an object", value);

/** An object with these members. */
export const object =
  <T extends object>(members: { readonly [K in keyof T]: Reader<T[K]> }): Reader<T> =>
  (value, at) => {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      return fail(at, "an object", value);
    const given = value as Record<string, unknown>;
    const read: Partial<T> = {};
    for (const key of Object.keys(members) as (keyof T & string)[]) {
      read[key] = members[key](given[key], at === "" ? key : `${at}.${key}`);
    }
    return read as T;
  };
