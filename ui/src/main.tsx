import { render } from "preact";
import { openSession } from "./auth/session";
import { followAddress } from "./route";
import { Page } from "./Page";
import "./page.css";

followAddress();
render(<Page session={await openSession()} />, document.getElementById("page")!);
