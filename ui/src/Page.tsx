// The frame around each view: header, sign-in, the stream of changes, the view of the address.
import { Component, type ComponentChildren } from "preact";
import { useEffect, useMemo, useReducer } from "preact/hooks";
import { openApi } from "./api/calls";
import { Changes } from "./api/changes";
import type { Session } from "./auth/session";
import { SignIn, SignInAgain } from "./auth/view";
import { PartsProvider, useMe, useParts, useSession } from "./parts/context";
import { Text, Title } from "./parts/show";
import { address, route, type Route } from "./route";
import { useStore } from "./store";
import { time } from "./text";
import { Environment } from "./views/Environment";
import { Environments } from "./views/Environments";
import { Log } from "./views/Log";
import { RollbackTo } from "./views/RollbackTo";
import { RollbackView } from "./views/Rollback";
import { SettingsView } from "./views/Settings";
import { SnapshotView } from "./views/Snapshot";

export function Page({ session }: { session: Session }) {
  const parts = useMemo(() => ({ session, api: openApi(session), changes: new Changes(session) }), [session]);
  const { kind } = useSession(session);
  const now = useStore(route);
  // Times such as "5 min ago" stay right on a page that nothing changes.
  const [, tick] = useReducer<number, void>((n) => n + 1, 0);
  useEffect(() => {
    const timer = setInterval(() => tick(), 30_000);
    return () => clearInterval(timer);
  }, []);
  const signedIn = kind === "signedIn";
  const known = signedIn || kind === "expired";
  useEffect(() => {
    if (!signedIn) return;
    void parts.changes.follow();
    return () => parts.changes.stop();
  }, [signedIn, parts]);
  return (
    <PartsProvider value={parts}>
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <header>
        <nav aria-label="Main">
          <a href={address({ view: "environments" })}>Environments</a>
        </nav>
        {known && <Who />}
      </header>
      <main id="content" tabIndex={-1}>
        <SignInAgain session={session} />
        {known ? (
          <>
            <Connection />
            <Guard key={JSON.stringify(now)}>
              <View route={now} />
            </Guard>
          </>
        ) : (
          <SignIn session={session} />
        )}
      </main>
      <footer>
        <p>
          Times are in the time zone {Intl.DateTimeFormat().resolvedOptions().timeZone}. Point at a time to see it in
          UTC.{" "}
          <a href="/ui/licenses.txt" target="_blank" rel="noreferrer">
            Licences
          </a>
        </p>
      </footer>
    </PartsProvider>
  );
}

/** An answer that a view cannot show does not take the page away. */
class Guard extends Component<{ children: ComponentChildren }, { failed: boolean }> {
  override state = { failed: false };
  override componentDidCatch(error: unknown) {
    console.error(error);
    this.setState({ failed: true });
  }
  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <>
        <Title name="Not shown">This view cannot be shown</Title>
        <p>
          An answer of the REST API was not as expected. Load the page again. If that does not help, report the page's
          address and the time.
        </p>
      </>
    );
  }
}

function Who() {
  const { session } = useParts();
  const me = useMe();
  return (
    <p class="who">
      {me.data && (
        <>
          <Text of={me.data.subject} /> (<Text of={me.data.scopes.join(", ")} />)
          {me.data.expiresAt && `, until ${time(me.data.expiresAt)}`}
        </>
      )}{" "}
      <button type="button" onClick={() => session.signOut()}>
        Sign out
      </button>
    </p>
  );
}

/** Whether what is shown follows changes. */
function Connection() {
  const { changes, session } = useParts();
  const connection = useStore(changes.connection);
  const { kind } = useSession(session);
  return (
    <div role="status">
      {connection.kind === "broken" && kind === "signedIn" && (
        <p class="note warn">
          Changes are not shown since {time(connection.since)}. <Text of={connection.why} /> The page connects again
          automatically.
        </p>
      )}
    </div>
  );
}

function View({ route }: { route: Route }) {
  switch (route.view) {
    case "environments":
      return <Environments />;
    case "environment":
      return <Environment id={route.environment} />;
    case "settings":
      return <SettingsView environment={route.environment} />;
    case "log":
      return <Log environment={route.environment} />;
    case "snapshot":
      return <SnapshotView environment={route.environment} id={route.snapshot} />;
    case "rollback-to":
      return <RollbackTo environment={route.environment} snapshot={route.snapshot} />;
    case "rollback":
      return <RollbackView environment={route.environment} id={route.rollback} />;
    case "unknown":
      return (
        <>
          <Title name="No such view">This address has no view</Title>
          <p>
            Check the address, or start with <a href={address({ view: "environments" })}>all environments</a>. Nothing
            was started.
          </p>
        </>
      );
  }
}
