// What the page reads of a token. The API verifies it, never the page.

/** Why a text is no token to try, as a sentence. */
export class NoToken extends Error {}

/** Epoch milliseconds at which a JSON Web Token ends. Throws NoToken. */
export function endOf(token: string): number {
  const parts = token.split(".");
  let claims: unknown;
  try {
    const base64 = (parts[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))));
  } catch {
    claims = null;
  }
  const end = claims && typeof claims === "object" && "exp" in claims ? claims.exp : undefined;
  if (parts.length !== 3 || typeof end !== "number" || !Number.isFinite(end))
    throw new NoToken("This is no JSON Web Token: it has three parts with dots between them, and a time at which it ends.");
  return end * 1000;
}

/** A token as people paste it: with the name of the header, or on several lines. */
export function pasted(text: string): string {
  return text.replace(/^\s*(?:authorization:\s*)?(?:bearer\s+)?/i, "").replace(/\s+/g, "");
}
