import "./page.css"; // first: the styles of views come after it
import { render } from "preact";
import { answered } from "./auth/answer";
import { openSession } from "./auth/session";
import { followAddress } from "./route";
import { Page } from "./Page";

if (!answered()) {
  followAddress();
  render(<Page session={await openSession()} />, document.getElementById("page")!);
}
