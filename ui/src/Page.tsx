// The frame around each view: header, sign-in, the stream of changes, the view of the address.
import { Component, type ComponentChildren } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { openApi } from "./api/calls";
import { Changes } from "./api/changes";
import type { Session } from "./auth/session";
import { SignIn, SignInAgain } from "./auth/view";
import { CallerProvider, PartsProvider, useCaller, useMe, useParts, useSession } from "./parts/context";
import { Message, Text, Title } from "./parts/show";
import { Utc } from "./parts/utc";
import { address, route, type Route } from "./route";
import { useStore } from "./store";
import { time } from "./text";
import { Environment } from "./views/Environment";
import { Environments } from "./views/Environments";
import { RollbackTo } from "./views/RollbackTo";
import { RollbackView } from "./views/Rollback";
import { SnapshotView } from "./views/Snapshot";

export function Page({ session }: { session: Session }) {
  const parts = useMemo(() => ({ session, api: openApi(session), changes: new Changes(session) }), [session]);
  const { kind } = useSession(session);
  const signedIn = kind === "signedIn";
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
      {signedIn || kind === "expired" ? <SignedIn session={session} /> : <SignedOut session={session} />}
      <footer>
        <p>
          Times are in the time zone {Intl.DateTimeFormat().resolvedOptions().timeZone}. Point at a time, touch it or
          focus it to see it in UTC.{" "}
          <a href="/ui/licenses.txt" target="_blank" rel="noreferrer">
            Licences
          </a>
        </p>
        <Utc />
      </footer>
    </PartsProvider>
  );
}

function SignedIn({ session }: { session: Session }) {
  const me = useCaller();
  const now = useStore(route);
  return (
    <CallerProvider value={me}>
      <Header>
        <Who />
      </Header>
      <main id="content" tabIndex={-1}>
        <SignInAgain session={session} />
        <Connection />
        <Guard key={place(now)}>
          <View route={now} />
        </Guard>
      </main>
    </CallerProvider>
  );
}

function SignedOut({ session }: { session: Session }) {
  return (
    <>
      <Header />
      <main id="content" tabIndex={-1}>
        <SignIn session={session} />
      </main>
    </>
  );
}

function Header({ children }: { children?: ComponentChildren }) {
  return (
    <header>
      <nav aria-label="Main">
        <a href={address({ view: "environments" })}>Environments</a>
      </nav>
      {children}
    </header>
  );
}

const TABS = new Set<Route["view"]>(["environment", "snapshots", "rollbacks", "settings", "log"]);

/** What a view is about: it begins again where that changes, and stays where only the query or the tab does. */
function place({ query: _, ...of }: Route): string {
  return JSON.stringify(TABS.has(of.view) ? { ...of, view: "environment" } : of);
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
          <Text of={me.data.subject} />{" "}
          <span class="may">
            (<Text of={me.data.scopes.join(", ")} />){me.data.expiresAt && `, until ${time(me.data.expiresAt)}`}
          </span>
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
          Changes are not shown since {time(connection.since)}. <Message of={connection.why} />
          {connection.passes && " The page connects again automatically."}
        </p>
      )}
    </div>
  );
}

function View({ route }: { route: Route }) {
  switch (route.view) {
    case "environments":
      return <Environments query={route.query} />;
    case "environment":
    case "snapshots":
    case "rollbacks":
    case "settings":
    case "log":
      return <Environment id={route.environment} tab={route.view} />;
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
