// Signing in: at the provider, or with a pasted token.
import { useState } from "preact/hooks";
import { Field, Form } from "../parts/form";
import { useFollowed } from "../store";
import { time } from "../text";
import type { Session } from "./session";
import "./view.css";

/** The whole sign-in screen. */
export function SignIn({ session }: { session: Session }) {
  useFollowed(session);
  const { state, provider } = session;
  return (
    <>
      <h1>Sign in</h1>
      {"message" in state && state.message && <p role="status">{state.message}</p>}
      {state.kind === "starting" ? <p aria-busy="true">The page asks how you sign in …</p> : <Ways session={session} />}
      {state.kind === "signedOut" && state.message && provider?.signOutAddress && (
        <p>
          The sign-in server may still know you. <a href={provider.signOutAddress} target="_blank" rel="noreferrer">End your session at {provider.host}</a>
        </p>
      )}
    </>
  );
}

/** Above every view: the token has ended or is about to. */
export function SignInAgain({ session }: { session: Session }) {
  useFollowed(session);
  const { state } = session;
  if (state.kind !== "expired" && !(state.kind === "signedIn" && state.expiring)) return null;
  return (
    <section class="card" aria-labelledby="again">
      <h2 id="again">Sign in again</h2>
      <p role="alert">
        {state.kind === "expired"
          ? `${state.message} What was loaded stays here and is not updated.`
          : `The sign-in ends at ${time(state.expiresAt)}.`}{" "}
        Sign in again to continue at this place. An operation that runs continues without you.
      </p>
      <Ways session={session} />
    </section>
  );
}

/** What leads to a token. */
function Ways({ session }: { session: Session }) {
  useFollowed(session);
  const { provider, canPaste, waits, problem } = session;
  return (
    <>
      {problem && (
        <p class="note bad" role="alert">
          {problem}
        </p>
      )}
      {provider && waits !== "window" && (
        <p>
          <button type="button" class="primary" onClick={() => void session.signIn()}>
            Sign in at {provider.host}
          </button>
        </p>
      )}
      {waits === "window" && (
        <p role="status">
          Complete the sign-in in the window that has opened.{" "}
          <button type="button" onClick={() => session.cancel()}>
            Cancel
          </button>
        </p>
      )}
      {canPaste && <TokenForm session={session} />}
    </>
  );
}

function TokenForm({ session }: { session: Session }) {
  const [token, setToken] = useState("");
  return (
    <Form
      submit={() => {
        setToken("");
        if (token.trim()) void session.paste(token);
      }}
    >
      <Field exact class="secret" label="Access token" value={token} change={setToken} required />
      <p class="hint">The token stays in the memory of this tab. Closing or reloading the page removes it.</p>
      <button type="submit" disabled={session.waits !== null}>
        Sign in with this token
      </button>
    </Form>
  );
}
