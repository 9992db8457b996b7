// Small parts that views are made of.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Problem } from "../api/problem";
import type { EnvironmentRow, Fix } from "../api/types";
import { address } from "../route";
import { pieces, short, time, utc, visible } from "../text";
import { useMay, useParts, useRelative, useSession, type Action, type Loaded, type Scope } from "./context";

/** Text of a tenant: shown as text, and kept from changing the direction of what surrounds it. */
export function Text({ of }: { of: string }) {
  return <bdi>{visible(of)}</bdi>;
}

/** A digest, a path or an id: as it is, in letters of one width. */
export function Code({ of }: { of: string }) {
  return (
    <code>
      <Text of={of} />
    </code>
  );
}

/** A name in a sentence or a title: it cannot be read as a word of it, whatever it is. */
export const Name = Code;

/** A message of the operator or the API: its times are local, its code is code. Not for a name: that is shown as it is. */
export function Message({ of }: { of: string }) {
  return (
    <bdi>
      {pieces(of).map(({ code, text }) => (code ? <code>{visible(text)}</code> : visible(text)))}
    </bdi>
  );
}

/** A text that is not always there, with what leads to it. */
export function Maybe({ lead, of }: { lead: string; of: string | null | undefined }) {
  if (!of) return null;
  return (
    <>
      {lead}
      <Text of={of} />
    </>
  );
}

/**
 * A time in the reader's time zone, and how long ago it was. `planned`: it may lie ahead. `brief`: only how long ago. Its
 * UTC is in a popover (`Utc`) for those who point at it, touch it or focus it. `plain`: without a stop of the keyboard,
 * within a link or in a dense table.
 */
export function Time({ at, none = "none", ...how }: { at: string | null | undefined; none?: string } & TimeProps) {
  return at ? <Moment at={at} {...how} /> : <>{none}</>;
}

interface TimeProps {
  planned?: boolean;
  brief?: boolean;
  plain?: boolean;
}

function Moment({ at, planned = false, brief = false, plain = false }: { at: string } & TimeProps) {
  const since = useRelative(at, planned);
  const shown = (
    <time dateTime={at} {...(plain && { "data-at": at })}>
      {brief ? since : `${time(at)} (${since})`}
    </time>
  );
  if (plain) return shown;
  return (
    <button type="button" class="time" data-at={at} aria-description={utc(at)}>
      {shown}
    </button>
  );
}

/** The heading of a view: takes the focus, and names the document. */
export function Title({ children, name }: { children: ComponentChildren; name: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${visible(name)} – ocore-snapshots`;
  }, [name]);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children}
    </h1>
  );
}

/** The link above a view of an environment. `name`: the environment's, once it is known. */
export function Back({ environment, name }: { environment: string; name: string | undefined }) {
  return (
    <p>
      <a href={address({ view: "environment", environment })}>
        Back to {name === undefined ? "the environment" : <Name of={name} />}
      </a>
    </p>
  );
}

/** The tabs of a view: links, because each has an address. */
export function Tabs({ label, of, current }: { label: string; of: Record<string, string>; current: string }) {
  return (
    <nav aria-label={label} class="tabs">
      {Object.entries(of).map(([name, href]) => (
        <a key={name} href={href} aria-current={name === current ? "page" : undefined}>
          {name}
        </a>
      ))}
    </nav>
  );
}

/** The part of a view with what destroys or replaces data. Nothing else is in it, and nothing of that is elsewhere. */
export function Danger({ id, title, children }: { id: string; title: ComponentChildren; children: ComponentChildren }) {
  return (
    <section aria-labelledby={id} class="danger-zone">
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}

/** The type of an environment. Production has a word, a shape and a colour everywhere. */
export function Type({ of }: { of: EnvironmentRow["type"] }) {
  return <span class={`type ${of}`}>{of}</span>;
}

/** What only a scope allows. Without it: one line that names it, and no control that would be refused. */
export function May({ scope, to, children }: { scope: Scope; to: string; children: ComponentChildren }) {
  const may = useMay(scope);
  if (may === undefined) return null;
  if (may) return <>{children}</>;
  return (
    <p class="hint">
      To {to}, sign in with a token that has the scope <code>{scope}</code>.
    </p>
  );
}

/** A part of a view, named by its heading. */
export function Section({ id, title, children }: { id: string; title: string; children: ComponentChildren }) {
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}

/** `active`: it runs. */
export type Tone = "good" | "warn" | "bad" | "quiet" | "active";

/** A sign in place of the one of the tone: one sign has one meaning. */
export type Sign = "paused" | "safety";

/** A word with a colour. The word says it all: the colour only repeats it. */
export function Mark({ tone, sign, children }: { tone: Tone; sign?: Sign | undefined; children: ComponentChildren }) {
  return <span class={sign ? `mark ${tone} sign-${sign}` : `mark ${tone}`}>{children}</span>;
}

/** What should be known, one paragraph each. */
export function Notes({ tone, of }: { tone: Tone; of: (string | { reason: string; message: string })[] }) {
  return (
    <>
      {of.map((note) => {
        const text = typeof note === "string" ? note : `${note.reason}: ${note.message}`;
        return (
          <p class={`note ${tone}`} key={text}>
            <Message of={text} />
          </p>
        );
      })}
    </>
  );
}

/** Messages of a list. */
export function List({ of }: { of: string[] }) {
  return (
    <ul class="plain">
      {of.map((text) => (
        <li key={text}>
          <Message of={text} />
        </li>
      ))}
    </ul>
  );
}

export type Fact = [label: string, value: ComponentChildren];

/** Pairs of a label and a value; without those that are not known. */
export function Facts({ of }: { of: (Fact | false | null)[] }) {
  return (
    <dl class="facts">
      {of.filter((fact) => fact !== false && fact !== null).map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** What an action answered instead of success. */
export function Failure({ of }: { of: { problem: Problem | undefined } }) {
  return (
    <div role="alert" class={of.problem ? "note bad" : undefined}>
      {of.problem && <Message of={of.problem.message} />}
    </div>
  );
}

/** What is known of a view's data: nothing yet, or since when, and why not more. The children show the data. */
export function Known<T>({ of, children }: { of: Loaded<T>; children: (data: T) => ComponentChildren }) {
  const { session } = useParts();
  const { kind } = useSession(session);
  const { data, problem, since } = of;
  const ended = problem && !problem.passes && kind === "signedIn";
  return (
    <>
      <div role="status">
        {data === undefined && !problem && <p>Loading …</p>}
        {problem && kind === "signedIn" && (
          <p class={ended ? "note bad" : "note warn"}>
            <Message of={problem.message} />
            {problem.passes && " The page tries again automatically."}
            {data !== undefined && ` Shown is what was known at ${time(since)}.`}
          </p>
        )}
        {kind === "expired" && (
          <p class="note warn">
            {data === undefined ? "Nothing is known yet." : `Shown is what was known at ${time(since)}.`}
          </p>
        )}
      </div>
      {data !== undefined && children(data)}
      {data === undefined && ended && (
        <p>
          <button type="button" onClick={of.reload}>
            Try again
          </button>{" "}
          <a href="/ui/">All environments</a>
        </p>
      )}
    </>
  );
}

/** A button that starts one action, once. */
export function Do<A>({
  action,
  argument,
  children,
  ...rest
}: {
  action: Action<A>;
  argument: A;
  children: ComponentChildren;
  class?: string;
  disabled?: boolean;
}) {
  return (
    <button type="button" {...rest} disabled={action.busy || rest.disabled} onClick={() => action.run(argument)}>
      {children}
    </button>
  );
}

/** A text to copy. Where the browser does not let a page copy, what is shown of it is selected. */
function useCopy(text: string) {
  const shown = useRef<HTMLElement>(null);
  const [done, setDone] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(visible(text));
      setDone("Copied.");
    } catch {
      getSelection()?.selectAllChildren(shown.current!);
      setDone("It is selected. Press Ctrl+C to copy it.");
    }
  };
  return { shown, done, copy: () => void copy() };
}

/** A command to copy: exactly what is shown. */
export function Command({ text }: { text: string }) {
  const { shown, done, copy } = useCopy(text);
  return (
    <div class="command">
      <code ref={shown} tabIndex={0}>
        {visible(text)}
      </code>
      <button type="button" onClick={copy} aria-label={`Copy: ${visible(text)}`}>
        Copy
      </button>
      <span role="status">{done}</span>
    </div>
  );
}

/** An id by its first characters, with a button that copies all of it. */
export function ShortId({ of }: { of: string }) {
  const { shown, done, copy } = useCopy(of);
  return (
    <span class="short-id">
      <code ref={shown}>{done.startsWith("It") ? visible(of) : short(of)}</code>
      <button type="button" onClick={copy} aria-label={`Copy the id ${visible(of)}`}>
        Copy
      </button>
      <span role="status">{done}</span>
    </span>
  );
}

/** A block of code in a text: it is among the commands, too. */
const BLOCK = /^```\w*\n[^]*?^```\n*/gm;

/** What fixes a condition. */
export function Remedy({ fix }: { fix: Fix | null }) {
  if (!fix) return null;
  return (
    <div class="remedy">
      <p>
        <Message of={fix.text.replace(BLOCK, "")} />
      </p>
      {fix.commands.map((command) => (
        <Command key={command} text={command} />
      ))}
    </div>
  );
}

export function Progress({ percent, label }: { percent: number | null; label: string }) {
  return percent === null ? (
    <progress aria-label={label} />
  ) : (
    <>
      <progress max={100} value={percent} aria-label={label} /> {percent} %
    </>
  );
}

/** A button that asks before something that cannot be undone. Escape and `no`, which says what stays, answer no. */
export function Ask({
  button,
  title,
  children,
  yes,
  no,
  ready = true,
  action,
}: {
  button: string;
  title: string;
  children: ComponentChildren;
  yes: string;
  no: string;
  ready?: boolean;
  action: Action<undefined>;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const close = () => dialog.current?.close();
  useEffect(() => {
    if (!action.busy && !action.problem) close();
  }, [action.busy, action.problem]);
  return (
    <>
      <button type="button" onClick={() => dialog.current?.showModal()}>
        {button}
      </button>
      <dialog ref={dialog} aria-labelledby={id}>
        <h2 id={id}>{title}</h2>
        {children}
        <Failure of={action} />
        <p class="actions">
          <button type="button" onClick={close}>
            {no}
          </button>
          <Do action={action} argument={undefined} disabled={!ready} class="danger">
            {yes}
          </Do>
        </p>
      </dialog>
    </>
  );
}
