// Asks questions of a built site, with the script that a reader's browser runs. Arguments: the folder of the site and
// the script. Questions come as JSON on the standard input; the addresses of the first hits of each go out.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { runInNewContext } from "node:vm";

const [site, script] = process.argv.slice(2);
const answers = [];
const self = { postMessage: (message) => answers.push(message) };
runInNewContext(readFileSync(join(site, script), "utf8"), { self });
const { config, items } = JSON.parse(readFileSync(join(site, "search.json"), "utf8"));
self.onmessage({ data: { type: 0, data: { config, items } } });
for (const input of JSON.parse(readFileSync(0, "utf8"))) self.onmessage({ data: { type: 2, data: { input } } });
const [ready, ...results] = answers;
if (ready.type !== 1 || results.some(({ type }) => type !== 3)) throw new Error("the search has failed");
console.log(JSON.stringify(results.map(({ data }) => data.items.map(({ id }) => items[id].location))));
