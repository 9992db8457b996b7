// Which warnings of an environment a person has read in this browser: those fold into one line.

/** Environments, and warnings of each, that are remembered: the newest. */
const ENVIRONMENTS = 100;
const WARNINGS = 20;
const KEY = "ocore.read";

/** Environment → digests of the warnings that were read. */
type Read = Record<string, string[]>;

/** Tells two texts apart: 53 bits, cyrb53. A text itself is not kept: it outlives the sign-in. */
export function digest(text: string): string {
  let [high, low] = [0xdeadbeef, 0x41c6ce57];
  for (const character of text) {
    const code = character.codePointAt(0)!;
    high = Math.imul(high ^ code, 2654435761);
    low = Math.imul(low ^ code, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return (4294967296 * (2097151 & low) + (high >>> 0)).toString(36);
}

/** What was kept; nothing where that is not readable. */
export function parsed(text: string | null): Read {
  try {
    const found = JSON.parse(text ?? "{}") as unknown;
    if (typeof found !== "object" || found === null || Array.isArray(found)) return {};
    return Object.fromEntries(Object.entries(found).filter(([, digests]) => Array.isArray(digests))) as Read;
  } catch {
    return {};
  }
}

/** What is kept once these warnings of an environment were read. A warning that has gone is forgotten. */
export function remembering(known: Read, environment: string, warnings: string[]): Read {
  const { [environment]: _, ...others } = known;
  const kept = Object.entries(others).slice(-(ENVIRONMENTS - 1));
  return { ...Object.fromEntries(kept), [environment]: warnings.slice(0, WARNINGS).map(digest) };
}

/** The warnings that are new to this person, and those that were read. */
export function sorted(known: Read, environment: string, warnings: string[]): { fresh: string[]; read: string[] } {
  const digests = new Set(known[environment]);
  return {
    fresh: warnings.filter((warning) => !digests.has(digest(warning))),
    read: warnings.filter((warning) => digests.has(digest(warning))),
  };
}

/** Without a storage nothing was read, and nothing is kept. */
export function readWarnings(): Read {
  try {
    return parsed(localStorage.getItem(KEY));
  } catch {
    return {};
  }
}

export function keepRead(read: Read): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(read));
  } catch {
    // A browser may forbid it: then nothing folds after a reload.
  }
}
