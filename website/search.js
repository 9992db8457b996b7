// The search of the site, in place of the theme's worker, which finds only sections that have every word of a question.
// MiniSearch keeps the index and ranks. Here words that say little are dropped, words of one meaning find each other, and
// a section is ranked with its page. Messages are those of the theme: 0 an index, 1 ready, 2 a query, 3 its results, 4 an
// error.
import MiniSearch from "minisearch";

const STOP = new Set(
  (
    "a about after all also am an and any are as at be been before but by can cannot could did do does doing don for from get has " +
    "have here how i if in into is it its just let me much must my need needs of on one or our please set shall should so some " +
    "tell than that the their them then there these they this those to too us use used using want was we were what when where " +
    "which who whose why will with without would you your"
  ).split(" "),
);
// Each line is one meaning. Words that people type, and those that the pages use.
const MEANINGS = `
abort cancel stop
access allow authorization grant permission privilege rbac right role
alert alarm alertmanager monitoring notification notify prometheus runbook
age old overdue stale
another different new other
oom oomkilled outofmemory memory
pitr wal
ha availability replica replicas
many multiple several
attachment document file filestore upload
backup dump snapshot
bucket minio s3 garage ceph
bill cost euro money price pricing expensive
ca cert certificate x509
change renew replace rotate rotation
broken crash damaged defect error fail failure problem troubleshooting wrong
cnpg cloudnativepg
claim pvc persistentvolumeclaim
clean cleanup delete drop erase purge remove uninstall
clone copy staging
ci gitlab github jenkins pipeline
consistent consistency inconsistent
cron daily every frequency hour hourly interval nightly schedule scheduled
argo argocd flux gitops
credential key password secret
anonymize anonymise gdpr mask neutralise neutralize sanitize
compatible requirement support supported version
crash disaster lost loss
duration fast latency long performance slow speed
encrypt encrypted encryption tls
install installation setup deploy
keep kept retention prune expire expiry
log audit
manual manually hand
migrate migration move
tenant tenancy
downtime outage offline unavailable
offsite region remote
postgres postgresql database db
python api rest http curl
recover recovery restore
revert rollback undo
size sizing capacity disk quota space volume
stuck hang hanging terminating waiting
upgrade update`
  .trim()
  .split("\n")
  .map((line) => line.split(" "));
// Phrases that are one word on the pages.
const PHRASES = [
  [/\broll(ed|ing)?[ -]back\b/g, "rollback"],
  [/\bwithout (the |an? |this )?(operator|kubernetes|software)\b/g, "hand"],
  [/\bobject stor(e|age)\b/g, "s3"],
  [/\bstorage class(es)?\b/g, "storageclass"],
  [/\bin progress\b/g, "running"],
  [/\bmulti[- ]tenan(t|cy)\b/g, "tenant"],
  [/\bargo cd\b/g, "argocd"],
  [/\bpoint[- ]in[- ]time\b/g, "pitr"],
  [/\b(high(ly)?[- ]availab(le|ility))\b/g, "ha"],
];
const OTHER_WORD = 0.6; // the weight of a word of the same meaning
const BOOST = { title: 6, page: 2 };
const WHOLE_PAGE = 0.3; // the weight of the page beside that of its section
const BM25 = { k: 1.5, b: 0.7, d: 0 };
// Rooms whose pages answer a question; pages on how the project itself is made, and those that an alert names.
const ROOMS = { Start: 1.1, Guides: 1.25, Reference: 0.9 };
const MADE = /^(architecture|console-api|failpoints|failure-modes|local-cluster|page-design|performance-analysis|project\/co|rest-api-guarantees|releasing|runbooks)/;
const PER_PAGE = 3;
const SIZE = 10;

const plain = (html) => html.replace(/<[^>]*>/g, (tag) => " ".repeat(tag.length)).replace(/&\w+;/g, (e) => " ".repeat(e.length));

function stem(word) {
  let found = word;
  if (found.length > 3 && /[^sui]s$/.test(found)) found = found.replace(/ies$/, "y").replace(/s$/, "");
  if (found.length > 5) found = found.replace(/(?<=..[^e])(ing|ed|er|ation)$/, "");
  return found.length > 4 ? found.replace(/([^ls])\1$/, "$1").replace(/e$/, "") : found;
}

// Each word of a text with its stems: those of a name such as RollbackReady are three.
function* words(text) {
  for (const { 0: word, index } of text.matchAll(/[\p{L}\p{N}]+/gu)) {
    const parts = word.split(/(?<=[\p{Ll}\p{N}])(?=\p{Lu})/u);
    const every = parts.length > 1 ? [word, ...parts] : parts;
    yield { stems: every.map((part) => stem(part.toLowerCase())), start: index, end: index + word.length };
  }
}

// The term of the index for all words of one meaning.
const MEANING = new Map(MEANINGS.flatMap((line, n) => line.map((word) => [stem(word), `~${n}`])));
const terms = (stems) => stems.flatMap((each) => (MEANING.has(each) ? [each, MEANING.get(each)] : [each]));

// --- the index ---------------------------------------------------------------------------------------------------------

let items, sections, pages, pageOf, first;

const pageName = (item) => (item.path || []).slice(-1)[0] || item.title;

// Its documents are the numbers of their rows.
function index(rows) {
  const found = new MiniSearch({
    fields: ["title", "page", "text"],
    tokenize: (text) => [...words(plain(text))].flatMap(({ stems }) => terms(stems)),
    processTerm: (term) => term,
  });
  found.addAll(rows.map((row, id) => ({ id, ...row })));
  return found;
}

function load(data) {
  items = data.items;
  const groups = new Map();
  items.forEach((item, id) => {
    const page = item.location.split("#")[0];
    groups.set(page, [...(groups.get(page) || []), id]);
  });
  const all = [...groups.values()];
  first = all.map((ids) => ids[0]);
  pageOf = [];
  all.forEach((ids, page) => ids.forEach((id) => (pageOf[id] = page)));
  const row = (item, text) => ({ title: item.title, page: pageName(item), text });
  sections = index(items.map((item) => row(item, item.text)));
  pages = index(all.map((ids) => row(items[ids[0]], ids.map((id) => `${items[id].title} ${items[id].text}`).join(" "))));
}

// The words of a text without those that say little; all of them where nothing else is left.
function said(text) {
  const all = [...words(text)];
  const kept = all.filter(({ start, end }) => !STOP.has(text.slice(start, end).toLowerCase()));
  return kept.length ? kept : all;
}

// --- a query -----------------------------------------------------------------------------------------------------------

function asked(input) {
  let text = input.toLowerCase();
  for (const [phrase, word] of PHRASES) text = text.replace(phrase, word);
  return said(text).map(({ stems: [word], end }) => ({ word, typing: end === text.length && word.length > 1 }));
}

function scores(engine, query) {
  const queries = query.map(({ word, typing }) => {
    const meaning = MEANING.get(word);
    const own = { queries: [word], prefix: typing, fuzzy: !meaning && word.length > 3 && 0.2 };
    return { combineWith: "OR", queries: meaning ? [own, { queries: [meaning], boostTerm: () => OTHER_WORD }] : [own] };
  });
  const found = engine.search({ combineWith: "OR", queries }, { boost: BOOST, bm25: BM25 });
  return new Map(found.map(({ id, score, terms: matched }) => [id, { score, matched }]));
}

function ranked(query) {
  const ofPages = scores(pages, query);
  const ofSections = scores(sections, query);
  first.forEach((id, page) => ofPages.has(page) && !ofSections.has(id) && ofSections.set(id, { score: 0, matched: [] }));
  const shown = new Map();
  return [...ofSections]
    .map(([id, { score, matched }]) => {
      const room = MADE.test(items[id].location) ? 0.6 : ROOMS[(items[id].path || [])[0]] || 1;
      return { id, matched, score: room * (score + WHOLE_PAGE * (ofPages.get(pageOf[id])?.score || 0)) };
    })
    .sort((a, b) => b.score - a.score || a.id - b.id)
    .filter(({ id }) => {
      const count = (shown.get(pageOf[id]) || 0) + 1;
      shown.set(pageOf[id], count);
      return count <= PER_PAGE;
    });
}

// Where the text has the terms that were found: what the page highlights.
function matches(item, matched) {
  const wanted = new Set(matched);
  return ["title", "text"].flatMap((field) => {
    const ranges = [...words(plain(item[field]))]
      .filter(({ stems }) => terms(stems).some((each) => wanted.has(each)))
      .map(({ start, end }) => ({ start, end, value: end - start }));
    return ranges.length ? [{ id: 0, field, score: 0, value: { highlight: { ranges } } }] : [];
  });
}

function answer({ input, page }) {
  const query = typeof input === "string" ? asked(input) : [];
  const rows = query.length ? ranked(query) : [];
  const from = page ? page.from : 0;
  const at = (start) => ({ id: 0, size: SIZE, from: start });
  return {
    items: rows.slice(from, from + SIZE).map(({ id, score, matched }) => ({ id, score, matches: matches(items[id], matched) })),
    query: { values: [] },
    aggregations: [],
    pagination: {
      total: rows.length,
      prev: from ? at(from - SIZE) : undefined,
      next: from + SIZE < rows.length ? at(from + SIZE) : undefined,
    },
  };
}

self.onmessage = ({ data: { type, data } }) => {
  try {
    if (type === 0) {
      load(data);
      self.postMessage({ type: 1 });
    } else if (type === 2) self.postMessage({ type: 3, data: answer(data) });
  } catch {
    self.postMessage({ type: 4 });
  }
};
