/** Typed events without the DOM: the cores and the clients tell their owner what happened through this. */

/** A listener table for events whose payloads are the members of `Events`. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(value: never) => void>>();

  /** Calls `listener` with every later `name` event. The returned function takes it off again. */
  on<K extends keyof Events>(name: K, listener: (value: Events[K]) => void): () => void {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set);
    set.add(listener);
    return () => set.delete(listener);
  }

  /** Calls the listeners of `name` in the order in which they came. */
  protected emit<K extends keyof Events>(name: K, value: Events[K]): void {
    // A copy: a listener may take itself or others off while it runs.
    for (const listener of [...(this.#listeners.get(name) ?? [])])
      (listener as (value: Events[K]) => void)(value);
  }
}
