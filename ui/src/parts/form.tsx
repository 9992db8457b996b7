// Controls of forms, each with its label.
import type { ComponentChildren, InputHTMLAttributes, PartialInputHTMLAttributes } from "preact";

/** A form that the page itself handles. Without `submit` its controls act at once. */
export function Form({
  submit,
  children,
  ...rest
}: {
  submit?: () => void;
  children: ComponentChildren;
  class?: string;
  role?: "search";
}) {
  return (
    <form
      {...rest}
      onSubmit={(event) => {
        event.preventDefault();
        submit?.();
      }}
    >
      {children}
    </form>
  );
}

/** A line of text, or a number. `exact`: the browser neither completes nor corrects it. */
export function Field({
  label,
  value,
  change,
  exact,
  ...how
}: {
  label: ComponentChildren;
  value: string;
  change(typed: string): void;
  exact?: boolean;
  type?: "search" | "number";
} & Omit<PartialInputHTMLAttributes<HTMLInputElement>, "label" | "role" | "value">) {
  return (
    <label>
      {label}
      <input
        {...(how as InputHTMLAttributes)}
        {...(exact && { autocomplete: "off", spellcheck: false })}
        value={value}
        onInput={(event) => change(event.currentTarget.value)}
      />
    </label>
  );
}

/** One of several values. `of`: value → what people read. */
export function Choice<T extends string>({
  label,
  value,
  of,
  change,
  disabled = false,
}: {
  label: ComponentChildren;
  value: T;
  of: Record<NoInfer<T>, string>;
  change(chosen: NoInfer<T>): void;
  disabled?: boolean;
}) {
  return (
    <label>
      {label}
      <select value={value} disabled={disabled} onChange={(event) => change(event.currentTarget.value as T)}>
        {Object.entries<string>(of).map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Yes or no. */
export function Check({
  label,
  value,
  change,
  disabled = false,
}: {
  label: ComponentChildren;
  value: boolean;
  change(checked: boolean): void;
  disabled?: boolean;
}) {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={value}
        disabled={disabled}
        onChange={(event) => change(event.currentTarget.checked)}
      />{" "}
      <span>{label}</span>
    </label>
  );
}
