// Signing in with a pasted token.
import { useState } from "preact/hooks";
import type { Session } from "./session";

/** The whole sign-in screen. */
export function SignIn({ session }: { session: Session }) {
  const { state } = session;
  return (
    <>
      <h1>Sign in</h1>
      {state.kind === "signedOut" && state.message && <p role="alert">{state.message}</p>}
      <TokenForm session={session} />
    </>
  );
}

/** Above every view: the token has expired. */
export function SignInAgain({ session }: { session: Session }) {
  const { state } = session;
  if (state.kind !== "expired") return null;
  return (
    <section class="card" aria-labelledby="again">
      <h2 id="again">Sign in again</h2>
      <p role="alert">{state.message} Sign in again to continue here. A running operation continues without you.</p>
      <TokenForm session={session} />
    </section>
  );
}

function TokenForm({ session }: { session: Session }) {
  const [token, setToken] = useState("");
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (token.trim()) session.signIn(token);
      }}
    >
      <label>
        Access token
        <input
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
          required
        />
      </label>
      <p class="hint">The token stays in the memory of this tab. Closing or reloading the page removes it.</p>
      <button type="submit">Sign in</button>
    </form>
  );
}
