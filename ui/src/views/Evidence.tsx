// What was required, what is proven and what is missing.
import type { Evidence as Proof } from "../api/types";
import { Code, Facts, List, Mark, Section, Text, type Fact } from "../parts/show";
import { stepName } from "./stages";

function texts(name: string, values: string[] = []): Fact | false {
  return values.length > 0 && [name, <List of={values} />];
}

function pairs(name: string, values: Record<string, string> = {}): Fact | false {
  const all = Object.entries(values);
  if (!all.length) return false;
  return [
    name,
    <ul class="plain">
      {all.map(([key, value]) => (
        <li key={key}>
          <Text of={key} />: <Code of={value} />
        </li>
      ))}
    </ul>,
  ];
}

export function Evidence({ of }: { of: Proof }) {
  const ended = of.status === "completed" || of.status === "failed";
  return (
    <Section id="evidence" title="Evidence">
      <p>
        {of.canWriteCleanSuccess ? (
          <Mark tone="good">A clean success</Mark>
        ) : (
          <Mark tone={ended ? "warn" : "quiet"}>{ended ? "Not a clean success" : "Not proven yet"}</Mark>
        )}
      </p>
      <Facts
        of={[
          texts("What proves it", of.whyGreen),
          texts("What prevents it", of.whyNotGreen),
          texts("Missing evidence", of.missingEvidence),
          texts("Missing steps", of.missingSteps?.map(stepName)),
          texts("Optional steps that failed", of.optionalFailedSteps?.map(stepName)),
          pairs("SHA-256", of.artifactChecksums),
          pairs("Where it is", of.artifactPaths),
        ]}
      />
    </Section>
  );
}
