// Where the page is: the path and the query of its address. It never holds a token.
import { store, type Store } from "./store";

/** Filters, the order of a list, a place on the time axis: what `Back` brings back. */
export type Query = Readonly<Record<string, string>>;
export type Tab = "environment" | "snapshots" | "rollbacks" | "settings" | "log";

export type View =
  | { view: "environments" }
  | { view: Tab; environment: string }
  | { view: "snapshot" | "rollback-to"; environment: string; snapshot: string }
  | { view: "rollback"; environment: string; rollback: string };
export type Route = (View | { view: "unknown"; path: string }) & { query: Query };

const ENVIRONMENT = "environments/:environment";
/** View → the path of its address below /ui/, with names for ids. */
const PATHS: Record<View["view"], string> = {
  environments: "",
  environment: ENVIRONMENT,
  snapshots: `${ENVIRONMENT}/snapshots`,
  rollbacks: `${ENVIRONMENT}/rollbacks`,
  settings: `${ENVIRONMENT}/settings`,
  log: `${ENVIRONMENT}/log`,
  snapshot: `${ENVIRONMENT}/snapshots/:snapshot`,
  "rollback-to": `${ENVIRONMENT}/snapshots/:snapshot/rollback`,
  rollback: `${ENVIRONMENT}/rollbacks/:rollback`,
};
const NAME = /:(\w+)/g;
const ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
/** Milliseconds for which a view may grow to the height that it had when it was left. */
const GROWS = 10_000;

/** The route of a path below /ui and a query. Anything that is not an address of a view is `unknown`. */
export function parseRoute(pathname: string, search = ""): Route {
  const path = pathname.replace(/^\/ui\/?|\/$/g, "");
  const query = Object.fromEntries(new URLSearchParams(search));
  for (const [view, pattern] of Object.entries(PATHS)) {
    const found = new RegExp(`^${pattern.replace(NAME, `(?<$1>${ID})`)}$`, "i").exec(path);
    if (found) return { view, ...found.groups, query } as Route;
  }
  return { view: "unknown", path, query };
}

/** The address of a view, for links. */
export function address(view: View, query: Query = {}): string {
  const ids = view as unknown as Record<string, string>;
  return `/ui/${PATHS[view.view].replace(NAME, (_, name: string) => ids[name] ?? "")}${search(query)}`;
}

/** A query as an address has it: without what is empty. */
function search(query: Query): string {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "")).toString();
  return text && `?${text}`;
}

export const route: Store<Route> = store<Route>({ view: "environments", query: {} });

const here = () => parseRoute(location.pathname, location.search);

/** Goes to a view, as a link does. */
export function go(path: string): void {
  keepPlace();
  if (path !== location.pathname + location.search) history.pushState(null, "", path);
  arrived();
  route.set(here());
  scrollTo(0, 0);
}

/** Changes parts of the query; an empty part is removed. `push`: `Back` leads to what was before. */
export function setQuery(part: Query, how: "push" | "replace" = "replace"): void {
  const path = location.pathname + search({ ...route.get().query, ...part });
  if (path === location.pathname + location.search) return;
  if (how === "push") {
    keepPlace();
    history.pushState(null, "", path);
  } else history.replaceState(history.state, "", path);
  route.set(here());
}

/** From now on the route follows the browser's address, and links within the page load nothing again. */
export function followAddress(): void {
  history.scrollRestoration = "manual";
  let settled: ReturnType<typeof setTimeout> | undefined;
  addEventListener(
    "scroll",
    () => {
      clearTimeout(settled);
      settled = setTimeout(keepPlace, 300);
    },
    { passive: true },
  );
  addEventListener("popstate", () => {
    clearTimeout(settled);
    route.set(here());
    comeBack(Number((history.state as { top?: number } | null)?.top ?? 0));
  });
  addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const path = link?.getAttribute("href");
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    if (!plain || event.defaultPrevented || !path?.startsWith("/ui/") || link?.target) return;
    event.preventDefault();
    clearTimeout(settled);
    go(path);
  });
  route.set(here());
}

/** Ends the return to a place in a view. */
let arrived = () => {};
let returning = false;

/** Keeps how far this view is scrolled, for `Back` and `Forward`. */
function keepPlace(): void {
  if (!returning) history.replaceState({ top: scrollY }, "");
}

/** Scrolls to a place as soon as the view is high enough for it, until the person scrolls or types. */
function comeBack(top: number): void {
  arrived();
  const scroll = () => scrollTo(0, top);
  const grown = new ResizeObserver(scroll);
  const end = new AbortController();
  const timer = setTimeout(() => arrived(), GROWS);
  returning = true;
  arrived = () => {
    returning = false;
    grown.disconnect();
    end.abort();
    clearTimeout(timer);
  };
  for (const kind of ["wheel", "touchstart", "pointerdown", "keydown"])
    addEventListener(kind, () => arrived(), { signal: end.signal, passive: true });
  grown.observe(document.documentElement);
  scroll();
}
