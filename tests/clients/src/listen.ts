// Follows one progress stream with npm's `eventsource` and the Authorization header, until its final event. Prints each
// event's data as a line of JSON. Usage: node listen.js PATH, with OCORE_API (base URL) and OCORE_TOKEN.
import { follow } from "./follow.js";

const [path] = process.argv.slice(2);
const { OCORE_API, OCORE_TOKEN } = process.env;
if (!path || !OCORE_API || !OCORE_TOKEN) throw new Error("usage: OCORE_API=… OCORE_TOKEN=… node listen.js PATH");
await follow(`${OCORE_API}${path}`, OCORE_TOKEN, (event) => console.log(JSON.stringify(event)));
