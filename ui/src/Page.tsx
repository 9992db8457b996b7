// The frame around each view: header, sign-in, the view of the address.
import { useEffect, useReducer, useRef } from "preact/hooks";
import type { Session } from "./auth/session";
import { SignIn, SignInAgain } from "./auth/view";
import { address, route, type Route } from "./route";
import { useStore } from "./store";

export function Page({ session }: { session: Session }) {
  const [, changed] = useReducer<number, void>((n) => n + 1, 0);
  useEffect(() => session.subscribe(() => changed()), [session]);
  const now = useStore(route);
  const known = session.state.kind !== "signedOut";
  return (
    <>
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <header>
        <nav aria-label="Main">
          <a href={address({ view: "environments" })}>Environments</a>
        </nav>
        {known && (
          <button type="button" onClick={() => session.signOut()}>
            Sign out
          </button>
        )}
      </header>
      <main id="content" tabIndex={-1}>
        {known ? (
          <>
            <SignInAgain session={session} />
            <View key={JSON.stringify(now)} route={now} />
          </>
        ) : (
          <SignIn session={session} />
        )}
      </main>
      <footer>
        <p>
          Times are in {Intl.DateTimeFormat().resolvedOptions().timeZone}.{" "}
          <a href="/ui/licenses.txt" target="_blank">
            Licences
          </a>
        </p>
      </footer>
    </>
  );
}

function View({ route }: { route: Route }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {route.view === "unknown" ? "This address has no view" : route.view}
    </h1>
  );
}
