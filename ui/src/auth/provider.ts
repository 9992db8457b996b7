// Signs in at an OpenID Connect provider: authorization code with PKCE, in a window of its own. Verifier, state and nonce stay in the
// memory of this page, which is never left.
import * as oauth from "oauth4webapi";
import { ANSWER_PATH, CHANNEL } from "./answer";
import { NoToken } from "./token";

export interface ProviderConfig {
  issuer: string;
  clientId: string;
  scopes: string[];
  token: "access" | "id";
}

export interface Tokens {
  /** What is sent to the API. */
  token: string;
  /** Renews it, if the provider gave one. */
  refresh: string | null;
}

interface Options {
  signal: AbortSignal;
  [oauth.allowInsecureRequests]: boolean;
}

/** The user, or another attempt, ended it. */
export class Cancelled extends Error {
  override message = "The sign-in was cancelled. Close its window if that is still open.";
}

/** Milliseconds that the provider has for one answer. */
const PATIENCE = 10_000;
/** Seconds that clocks may differ by, beside the difference that is known. */
const TOLERANCE = 30;

export class Provider {
  readonly #config: ProviderConfig;
  readonly #issuer: URL;
  readonly #insecure: boolean;
  #found: oauth.AuthorizationServer | null = null;

  constructor(config: ProviderConfig) {
    this.#config = config;
    this.#issuer = new URL(config.issuer);
    this.#insecure = this.#issuer.protocol === "http:"; // the facade allows it for tests only
  }

  get host(): string {
    return this.#issuer.host;
  }

  /** Where the user ends the session at the provider, which the page cannot end: that takes a token in an address. */
  get signOutAddress(): string | null {
    const address = this.#found?.end_session_endpoint;
    return address && URL.canParse(address) && /^https?:/.test(address) ? withParameters(address, { client_id: this.#config.clientId }) : null;
  }

  /** Asks the user in a window. `skew`: seconds that the server's clock is ahead of this one. Call it while a click is handled: else
   * browsers open no window. */
  async signIn(skew: number, cancel: AbortSignal): Promise<Tokens> {
    const popup = window.open("", "", "popup,width=520,height=720");
    if (!popup) throw new Error("The browser blocked the window of the sign-in. Allow pop-up windows for this address, and try again.");
    popup.opener = null; // the provider's page has no way to this one
    try {
      const server = await this.#discover();
      const verifier = oauth.generateRandomCodeVerifier();
      const state = oauth.generateRandomState();
      const nonce = oauth.generateRandomNonce();
      const redirect = location.origin + ANSWER_PATH;
      const answer = awaitAnswer(state, cancel);
      popup.location.href = withParameters(server.authorization_endpoint!, {
        client_id: this.#config.clientId,
        redirect_uri: redirect,
        response_type: "code",
        scope: this.#config.scopes.join(" "),
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        code_challenge_method: "S256",
        state,
        nonce,
      });
      const client = this.#client(skew);
      const parameters = oauth.validateAuthResponse(server, client, await answer, state);
      const response = await this.#ask(server.token_endpoint!, (options) =>
        oauth.authorizationCodeGrantRequest(server, client, oauth.None(), parameters, redirect, verifier, options),
      );
      const result = await oauth.processAuthorizationCodeResponse(server, client, response, { expectedNonce: nonce, requireIdToken: true });
      return this.#tokens(result, null);
    } finally {
      close(popup);
    }
  }

  /** Fresh tokens for a refresh token. */
  async renew(refresh: string, skew: number): Promise<Tokens> {
    const server = await this.#discover();
    const response = await this.#ask(server.token_endpoint!, (options) =>
      oauth.refreshTokenGrantRequest(server, this.#client(skew), oauth.None(), refresh, options),
    );
    return this.#tokens(await oauth.processRefreshTokenResponse(server, this.#client(skew), response), refresh);
  }

  /** Makes a refresh token useless, where the provider can do that. */
  async revoke(refresh: string): Promise<void> {
    const server = this.#found;
    if (!server?.revocation_endpoint) return;
    await this.#ask(server.revocation_endpoint, (options) =>
      oauth.revocationRequest(server, this.#client(0), oauth.None(), refresh, options),
    );
  }

  async #discover(): Promise<oauth.AuthorizationServer> {
    if (!this.#found) {
      const response = await this.#ask(this.#issuer.href, (options) => oauth.discoveryRequest(this.#issuer, { ...options, algorithm: "oidc" }));
      const found = await oauth.processDiscoveryResponse(this.#issuer, response);
      for (const name of ["authorization_endpoint", "token_endpoint"] as const)
        if (!found[name]) throw new Error(`The sign-in server ${this.host} names no ${name}: it is no provider for this page. Ask an administrator.`);
      this.#found = found;
    }
    return this.#found;
  }

  /** One request. An answer that a browser does not let the page read is an error of the network to it. */
  async #ask(address: string, request: (options: Options) => Promise<Response>): Promise<Response> {
    try {
      return await request({ signal: AbortSignal.timeout(PATIENCE), [oauth.allowInsecureRequests]: this.#insecure });
    } catch (error) {
      if (error instanceof DOMException && error.name === "TimeoutError")
        throw new Error(`The sign-in server ${new URL(address).host} has not answered for ${PATIENCE / 1000} s. Try again, or paste a token.`);
      if (error instanceof TypeError && !("code" in error))
        throw new Error(
          `The sign-in server ${new URL(address).host} cannot be reached. Try again. If this stays so, an administrator` +
            " allows this page's address at the server (CORS), and the server's address for this page (uiProviderOrigins).",
        );
      throw error;
    }
  }

  #client(skew: number): oauth.Client {
    return { client_id: this.#config.clientId, [oauth.clockSkew]: skew, [oauth.clockTolerance]: TOLERANCE };
  }

  #tokens(result: oauth.TokenEndpointResponse, refresh: string | null): Tokens {
    const token = this.#config.token === "id" ? result.id_token : result.access_token;
    if (!token) throw new NoToken("The sign-in server sent no id token. An administrator can set uiToken to `access`.");
    return { token, refresh: result.refresh_token ?? refresh };
  }
}

/** Closes a window, unless it shows a page of the provider: such a one only the user closes. */
function close(popup: Window): void {
  try {
    void popup.location.href;
    popup.close();
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

/** The answer with this state, from the window of the provider. */
function awaitAnswer(state: string, cancel: AbortSignal): Promise<URLSearchParams> {
  return new Promise((resolve, reject) => {
    const channel = new BroadcastChannel(CHANNEL);
    const end = () => channel.close();
    channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      const parameters = new URLSearchParams(typeof data === "string" ? data : "");
      if (parameters.get("state") !== state) return; // of another window
      end();
      resolve(parameters);
    };
    cancel.addEventListener("abort", () => {
      end();
      reject(new Cancelled());
    });
  });
}

function withParameters(address: string, parameters: Record<string, string>): string {
  const url = new URL(address);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

/** Whether the provider said no, as opposed to nothing. */
export function isRefusal(error: unknown): boolean {
  return error instanceof oauth.ResponseBodyError || error instanceof oauth.WWWAuthenticateChallengeError;
}

/** Why a sign-in failed, and what to do. */
export function sentence(error: unknown, host: string): string {
  if (error instanceof oauth.AuthorizationResponseError || error instanceof oauth.ResponseBodyError) {
    const more = error.error_description ? `: ${error.error_description}` : "";
    return `The sign-in server ${host} refused (${error.error}${more}). Try again, or ask its administrator.`;
  }
  if (error instanceof oauth.OperationProcessingError || error instanceof oauth.UnsupportedOperationError) {
    if (error.code === oauth.JWT_TIMESTAMP_CHECK)
      return `The clock of the sign-in server ${host} differs from that of the API. An administrator corrects the one that is wrong.`;
    return `The answer of the sign-in server ${host} is not valid (${error.message}). Try again, or ask an administrator.`;
  }
  if (error instanceof oauth.WWWAuthenticateChallengeError)
    return `The sign-in server ${host} does not accept this page as a public client. An administrator registers it without a secret.`;
  return error instanceof Error ? error.message : String(error);
}
