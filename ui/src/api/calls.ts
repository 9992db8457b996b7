// The operations of the REST API, by the types of its OpenAPI document.
import createClient, { type Client } from "openapi-fetch";
import type { Session } from "../auth/session";
import { noAnswer, Problem, problemOf } from "./problem";
import type { paths } from "./schema";

/** Seconds for which an answer is awaited. Sizes may take 10 s, and the API server as long again. */
const PATIENCE = 30_000;
/**
 * Milliseconds after which a request without an answer is repeated, once: a network that changes ends all connections.
 * Nothing is done twice by that: what creates something has an Idempotency-Key.
 */
const REPEAT = 500;

export type Api = Client<paths, "application/json">;

export function openApi(session: Session): Api {
  const repeated = new WeakSet<Request>();
  const client = createClient<paths, "application/json">({
    baseUrl: "/",
    cache: "no-store",
    fetch: async (request) => {
      const signal = AbortSignal.any([request.signal, AbortSignal.timeout(PATIENCE)]);
      const again = request.clone();
      return await fetch(request, { signal })
        .catch(async (error: unknown) => {
          if (request.method === "DELETE") throw error; // its repetition would find nothing
          repeated.add(request);
          await new Promise((resolve) => setTimeout(resolve, REPEAT));
          return await fetch(again, { signal });
        })
        .catch(() => {
          throw noAnswer();
        });
    },
  });
  client.use({
    onRequest({ request }) {
      const authorization = session.authorization();
      if (!authorization) throw new Problem(401, "SignedOut", "Sign in again.");
      request.headers.set("Authorization", authorization);
      return request;
    },
    async onResponse({ request, response }) {
      if (response.ok) return;
      const problem = problemOf(response, await response.json().catch(() => null), repeated.has(request));
      if (response.status === 401) session.refused(problem.message, request.headers.get("Authorization"));
      throw problem;
    },
  });
  return client;
}

/** The body of a successful answer. */
export async function body<T>(asked: Promise<{ data?: T }>): Promise<T> {
  return (await asked).data as T;
}
