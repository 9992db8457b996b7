// The window of the provider, back at this page's address: hands the answer to the page that opened it. The answer has a code, which
// only the page that holds the verifier can use.

export const ANSWER_PATH = "/ui/signed-in";
/** Windows of this address hear it, whatever the provider does to the tie between them. */
export const CHANNEL = "ocore-sign-in";
/** Milliseconds until the window closes, if the page has not closed it. */
const LINGER = 2000;

/** Whether this window is the provider's, back with an answer. It is then handed on, and this window has nothing else to show. */
export function answered(): boolean {
  if (location.pathname !== ANSWER_PATH) return false;
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage(location.search);
  history.replaceState(null, "", ANSWER_PATH);
  document.getElementById("page")!.textContent =
    "The sign-in continues in the window in which it began. Close this one. If there is no other, open the page again and sign in there.";
  setTimeout(() => window.close(), LINGER);
  return true;
}
