// Where the page is: the path of its address. It never holds a token.
import { store, type Store } from "./store";

export type Route =
  | { view: "environments" }
  | { view: "environment" | "settings" | "log"; environment: string }
  | { view: "snapshot" | "rollback-to"; environment: string; snapshot: string }
  | { view: "rollback"; environment: string; rollback: string }
  | { view: "unknown"; path: string };

const ENVIRONMENT = "environments/:environment";
/** View → the path of its address below /ui/, with names for ids. */
const PATHS: Record<Exclude<Route["view"], "unknown">, string> = {
  environments: "",
  environment: ENVIRONMENT,
  settings: `${ENVIRONMENT}/settings`,
  log: `${ENVIRONMENT}/log`,
  snapshot: `${ENVIRONMENT}/snapshots/:snapshot`,
  "rollback-to": `${ENVIRONMENT}/snapshots/:snapshot/rollback`,
  rollback: `${ENVIRONMENT}/rollbacks/:rollback`,
};
const NAME = /:(\w+)/g;
const ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";

/** The route of a path below /ui. Anything that is not an address of a view is `unknown`. */
export function parseRoute(pathname: string): Route {
  const path = pathname.replace(/^\/ui\/?|\/$/g, "");
  for (const [view, pattern] of Object.entries(PATHS)) {
    const found = new RegExp(`^${pattern.replace(NAME, `(?<$1>${ID})`)}$`, "i").exec(path);
    if (found) return { view, ...found.groups } as Route;
  }
  return { view: "unknown", path };
}

/** The address of a route, for links. */
export function address(route: Exclude<Route, { view: "unknown" }>): string {
  return `/ui/${PATHS[route.view].replace(NAME, (_, name: string) => (route as Record<string, string>)[name] ?? "")}`;
}

export const route: Store<Route> = store<Route>({ view: "environments" });

/** Goes to a view, as a link does. */
export function go(path: string): void {
  if (path !== location.pathname) history.pushState(null, "", path);
  route.set(parseRoute(path));
  scrollTo(0, 0);
}

/** From now on the route follows the browser's address, and links within the page load nothing again. */
export function followAddress(): void {
  addEventListener("popstate", () => route.set(parseRoute(location.pathname)));
  addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const path = link?.getAttribute("href");
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    if (!plain || event.defaultPrevented || !path?.startsWith("/ui/") || link?.target) return;
    event.preventDefault();
    go(path);
  });
  route.set(parseRoute(location.pathname));
}
