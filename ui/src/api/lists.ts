// Lists that the REST API serves in pages.
import { body, type Api } from "./calls";
import type { paths } from "./schema";
import type { RollbackDetails, Snapshot } from "./types";

/** Rows of a list, and how many the whole list has. */
export interface Page<T> {
  total: number;
  rows: T[];
}

/** Rows of one page at most. */
export const PAGE = 100;

/** The first rows of a list: `most`, up to the end of their page, or all of them. */
export async function firstRows<T>(most: number, read: (offset: number) => Promise<Page<T>>): Promise<Page<T>> {
  const rows: T[] = [];
  for (;;) {
    const page = await read(rows.length);
    rows.push(...page.rows);
    if (!page.rows.length || rows.length >= Math.min(most, page.total)) return { total: page.total, rows };
  }
}

type Query = NonNullable<paths["/console/v1/environments/{environmentId}/snapshots"]["get"]["parameters"]["query"]>;

/** A page of an environment's snapshots, the newest first. */
export async function snapshots(
  api: Api,
  environmentId: string,
  offset: number,
  query: Query = {},
): Promise<Page<Snapshot>> {
  const page = await body(
    api.GET("/console/v1/environments/{environmentId}/snapshots", {
      params: { path: { environmentId }, query: { limit: PAGE, offset, ...query } },
    }),
  );
  return { total: page.total, rows: page.snapshots };
}

/** A page of the rollbacks into an environment and of their undos, the newest first. */
export async function rollbacks(
  api: Api,
  environmentId: string,
  offset: number,
  query: { from?: string; to?: string } = {},
): Promise<Page<RollbackDetails>> {
  const page = await body(
    api.GET("/console/v1/environments/{environmentId}/rollbacks", {
      params: { path: { environmentId }, query: { limit: PAGE, offset, ...query } },
    }),
  );
  return { total: page.total, rows: page.rollbacks };
}
