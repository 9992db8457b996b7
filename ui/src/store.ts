// Values that live outside of the views, and the views that follow them.
import { useLayoutEffect, useReducer } from "preact/hooks";

export interface Store<T> {
  get(): T;
  set(value: T): void;
  /** Calls back after each change; returns what ends that. */
  subscribe(changed: () => void): () => void;
}

export function store<T>(initial: T): Store<T> {
  let value = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const changed of [...listeners]) changed();
    },
    subscribe(changed) {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
  };
}

/** The store's value; the component renders again when it changes. */
export function useStore<T>(source: Store<T>): T {
  useFollowed(source);
  return source.get();
}

/**
 * Renders again after each change of a source. It listens as soon as the component is shown: an effect would wait for the
 * next frame, and miss a change before that.
 */
export function useFollowed(source: Pick<Store<unknown>, "subscribe">): void {
  const [, changed] = useReducer<number, void>((n) => n + 1, 0);
  useLayoutEffect(() => source.subscribe(() => changed()), [source]);
}
