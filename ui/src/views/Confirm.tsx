// What a person types before data is replaced: which environment, one letter after the other.
import { useId, useState } from "preact/hooks";
import type { EnvironmentRow } from "../api/types";
import { Code } from "../parts/show";

export type Named = Pick<EnvironmentRow, "name" | "namespace" | "type">;

/**
 * Names one environment among those with the same name. The word in front stops a hand that types the name of staging
 * by habit.
 */
export function phrase({ name, namespace, type }: Named): string {
  return `${type === "production" ? "production " : ""}${namespace}/${name}`;
}

/** Whether a keyboard made this change: it deletes, or adds one character. Not: a paste, a drop, a filled-in value. */
export function typed(before: string, after: string, event: { isTrusted: boolean; inputType?: string }): boolean {
  const { isTrusted, inputType = "" } = event;
  if (!isTrusted) return false;
  if (inputType.startsWith("delete")) return inputType !== "deleteByDrag";
  return ["insertText", "insertCompositionText"].includes(inputType) && added(before, after) <= 1;
}

/** Characters of `after` between what it has in common with `before` at both ends. */
function added(before: string, after: string): number {
  const [old, now] = [[...before], [...after]];
  let start = 0;
  while (start < now.length && now[start] === old[start]) start += 1;
  let end = 0;
  while (end < Math.min(now.length, old.length) - start && now.at(-1 - end) === old.at(-1 - end)) end += 1;
  return now.length - start - end;
}

/** The field. `change` gets what was typed; the caller compares it with `phrase`. */
export function Confirm({ of, value, change }: { of: Named; value: string; change(typed: string): void }) {
  const [refused, setRefused] = useState(false);
  const hint = useId();
  const wanted = phrase(of);
  return (
    <div class="confirm">
      <label>
        Type {of.type === "production" && "the word production, then "}the namespace and the name to confirm
        <input
          value={value}
          autocomplete="off"
          autocapitalize="none"
          autocorrect="off"
          spellcheck={false}
          aria-describedby={hint}
          onInput={(event) => {
            const { currentTarget: field } = event;
            const taken = typed(value, field.value, event as unknown as InputEvent);
            setRefused(!taken);
            if (taken) change(field.value);
            else field.value = value;
          }}
        />
      </label>
      <p id={hint} class="hint">
        Type exactly <Code of={wanted} />, one character after the other: pasted text does not count. Then the button
        works.
      </p>
      <p role="status" class={refused ? "note warn" : undefined}>
        {refused && "Type it, one character after the other. Text that is pasted, dropped or filled in does not count."}
      </p>
    </div>
  );
}
