// The preview of a rollback: begins with the view, once for the same snapshot, target and state.
import { useEffect, useRef, useState } from "preact/hooks";
import { body, type Api } from "../api/calls";
import { Problem } from "../api/problem";
import { backOff } from "../api/sse";
import type { Preview } from "../api/types";
import { objectOf, unexpected, useLoaded, useParts, useSession, type Loaded } from "../parts/context";

export interface Wanted {
  environment: string;
  snapshot: string;
  target: string;
  /** What has changed since an earlier preview, if this differs. */
  state: string;
}

/** The Idempotency-Key: the same one gets the preview that exists. `again`: a person wants another one. */
export function previewKey({ snapshot, target, state }: Wanted, again: string): string {
  return `preview:${snapshot}:${target}:${state}:${again}`;
}

/** Asks for the preview while `wanted` is not null, and ends one that has not ended when the view is left. */
export function usePreview(wanted: Wanted | null, again: string): { preview: Loaded<Preview | undefined>; problem: Problem | undefined } {
  const { api, session } = useParts();
  const signedIn = useSession(session).kind === "signedIn";
  const key = wanted && previewKey(wanted, again);
  const [made, setMade] = useState<{ key: string; id: string } | null>(null);
  const [failure, setFailure] = useState<{ key: string; problem: Problem } | null>(null);
  const id = made?.key === key ? made.id : null;
  const preview = useLoaded<Preview | undefined>(
    id ?? "",
    async (api) => id === null ? undefined : body(api.GET("/console/v1/rollback-previews/{previewId}", { params: { path: { previewId: id } } })),
    objectOf("preview", id ?? ""),
  );
  useEffect(() => {
    if (!key || !signedIn || id !== null) return;
    const left = new AbortController();
    void begin(api, wanted, key, left.signal, (problem) => setFailure({ key, problem })).then((id) => {
      if (id === null) return;
      if (left.signal.aborted) end(api, id);
      else setMade({ key, id });
    });
    return () => left.abort();
  }, [key, signedIn, id]);
  const open = useRef(false);
  open.current = !preview.data || preview.data.status === "pending" || preview.data.status === "running";
  useEffect(() => {
    if (id === null) return;
    return () => {
      if (open.current) end(api, id);
    };
  }, [id]);
  return { preview, problem: id === null && failure?.key === key ? failure.problem : undefined };
}

/** Its id; null where it was refused, or is not wanted any more. What passes is tried again. */
async function begin(api: Api, wanted: Wanted, key: string, left: AbortSignal, failed: (problem: Problem) => void): Promise<string | null> {
  for (let tries = 0; ; tries += 1) {
    try {
      const { previewId } = await body(
        api.POST("/console/v1/environments/{environmentId}/rollback-previews", {
          params: { path: { environmentId: wanted.environment }, header: { "Idempotency-Key": key } },
          body: { snapshotId: wanted.snapshot, targetEnvironmentId: wanted.target },
        }),
      );
      return previewId;
    } catch (error) {
      if (left.aborted) return null;
      const problem = error instanceof Problem ? error : unexpected(error);
      failed(problem);
      // One that an earlier visit has left is being removed.
      if (!problem.passes && problem.reason !== "BeingDeleted") return null;
      await new Promise((resolve) => setTimeout(resolve, (problem.retryAfterSeconds ?? 0) * 1000 || backOff(tries)));
      if (left.aborted) return null;
    }
  }
}

/** Ends a preview that no one reads any more. One that cannot be ended now ends by its own deadline. */
function end(api: Api, previewId: string): void {
  api.DELETE("/console/v1/rollback-previews/{previewId}", { params: { path: { previewId } } }).catch(() => undefined);
}
