// Where the page is: the path of its address. It never holds a token.
import { store, type Store } from "./store";

export type Route =
  | { view: "environments" }
  | { view: "environment" | "settings" | "log"; environment: string }
  | { view: "snapshot" | "rollback-to"; environment: string; snapshot: string }
  | { view: "rollback"; environment: string; rollback: string }
  | { view: "unknown"; path: string };

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The route of a path below /ui. Anything that is not an address of a view is `unknown`. */
export function parseRoute(pathname: string): Route {
  const path = pathname.replace(/^\/ui\/?|\/$/g, "");
  const [root, environment, part, id, action, ...more] = path.split("/");
  if (path === "") return { view: "environments" };
  if (root !== "environments" || !environment || !ID.test(environment) || more.length) return { view: "unknown", path };
  if (part === undefined) return { view: "environment", environment };
  if (id === undefined) {
    if (part === "settings" || part === "log") return { view: part, environment };
  } else if (ID.test(id)) {
    if (part === "rollbacks" && action === undefined) return { view: "rollback", environment, rollback: id };
    if (part === "snapshots" && action === undefined) return { view: "snapshot", environment, snapshot: id };
    if (part === "snapshots" && action === "rollback") return { view: "rollback-to", environment, snapshot: id };
  }
  return { view: "unknown", path };
}

/** The address of a route, for links. */
export function address(route: Exclude<Route, { view: "unknown" }>): string {
  if (route.view === "environments") return "/ui/";
  const environment = `/ui/environments/${route.environment}`;
  switch (route.view) {
    case "environment":
      return environment;
    case "settings":
    case "log":
      return `${environment}/${route.view}`;
    case "rollback":
      return `${environment}/rollbacks/${route.rollback}`;
    case "snapshot":
      return `${environment}/snapshots/${route.snapshot}`;
    case "rollback-to":
      return `${environment}/snapshots/${route.snapshot}/rollback`;
  }
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
