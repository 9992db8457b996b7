import { render } from "preact";
import { answered } from "./auth/answer";
import { openSession } from "./auth/session";
import { followAddress } from "./route";
import { Page } from "./Page";
import "./page.css";

if (!answered()) {
  followAddress();
  render(<Page session={await openSession()} />, document.getElementById("page")!);
}
