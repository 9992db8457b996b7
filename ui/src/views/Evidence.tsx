// What was required, what is proven and what is missing.
import type { Evidence as Proof } from "../api/types";
import { Facts, Mark, Text } from "../parts/show";
import { words } from "../text";

export function Evidence({ of }: { of: Proof }) {
  const list = (name: string, values: string[] | undefined) =>
    values?.length
      ? [
          [
            name,
            <ul class="plain">
              {values.map((value) => (
                <li key={value}>
                  <Text of={value} />
                </li>
              ))}
            </ul>,
          ] as [string, preact.JSX.Element],
        ]
      : [];
  const map = (name: string, values: Record<string, string> | undefined) =>
    Object.keys(values ?? {}).length
      ? [
          [
            name,
            <ul class="plain">
              {Object.entries(values ?? {}).map(([key, value]) => (
                <li key={key}>
                  <Text of={key} />:{" "}
                  <code>
                    <Text of={value} />
                  </code>
                </li>
              ))}
            </ul>,
          ] as [string, preact.JSX.Element],
        ]
      : [];
  return (
    <section aria-labelledby="evidence">
      <h2 id="evidence">Evidence</h2>
      <p>
        {of.canWriteCleanSuccess ? (
          <Mark tone="good">A clean success</Mark>
        ) : (
          <Mark tone="quiet">Not a clean success</Mark>
        )}
      </p>
      <Facts
        of={[
          ...list("What proves it", of.whyGreen),
          ...list("What prevents it", of.whyNotGreen),
          ...list("Missing evidence", of.missingEvidence),
          ...list("Missing steps", of.missingSteps?.map(words)),
          ...list("Optional steps that failed", of.optionalFailedSteps?.map(words)),
          ...map("SHA-256", of.artifactChecksums),
          ...map("Where it is", of.artifactPaths),
        ]}
      />
    </section>
  );
}
