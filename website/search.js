// The search of the site, in place of the theme's worker, which finds only sections that have every word of a question.
// Here words that say little are dropped, words of one meaning find each other, and the best section comes first.
// Messages are those of the theme: 0 an index, 1 ready, 2 a query, 3 its results, 4 an error.
"use strict";

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
access grant permission privilege rbac right role
alert alarm monitoring prometheus runbook
attachment document file filestore upload
backup dump pitr snapshot
bucket minio s3 garage ceph
bill cost euro money price pricing expensive
broken crash damaged defect error fail failure problem troubleshooting wrong
cnpg cloudnativepg
clean cleanup delete drop remove uninstall
clone copy staging
cron frequency interval nightly schedule scheduled
argo argocd flux gitops
credential key password secret
anonymize anonymise gdpr mask neutralise neutralize sanitize
compatible requirement support supported version
crash disaster lost loss
duration fast latency long performance slow speed
encrypt encrypted encryption tls
install installation setup deploy
keep retention prune expire
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
size sizing capacity disk space
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
  [/\bmulti[- ]tenan(t|cy)\b/g, "tenant"],
  [/\bargo cd\b/g, "argocd"],
];
const OTHER_WORD = 0.6; // of the same meaning
const FIELDS = [
  { of: (item) => item.title, weight: 6, spread: 0.4 },
  { of: (item) => (item.path || []).slice(-1)[0] || item.title, weight: 4, spread: 0.4 },
  { of: (item) => item.text, weight: 1, spread: 0.75 },
];
// Rooms whose pages answer a question, and pages on how the project itself is made.
const ROOMS = { Start: 1.1, Guides: 1.25, Reference: 0.9 };
const MADE = /^(architecture|failpoints|failure-modes|local-cluster|page-design|performance-analysis|project\/co|rest-api-guarantees|releasing)/;
const HEADING = 1.5; // how much a heading that says the same as the question adds
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

const MEANT = new Map();
for (const line of MEANINGS)
  for (const word of line) {
    const known = MEANT.get(stem(word)) || new Set();
    line.forEach((other) => known.add(stem(other)));
    MEANT.set(stem(word), known);
  }

// --- the index ---------------------------------------------------------------------------------------------------------

function counts(texts) {
  const found = new Map();
  let length = 0;
  for (const text of texts)
    for (const { stems } of words(plain(text))) {
      length += 1;
      for (const each of stems) found.set(each, (found.get(each) || 0) + 1);
    }
  return { found, length };
}

// Sections, or pages: `groups` are the items of each.
function index(groups) {
  const documents = groups.map((items) => FIELDS.map(({ of }, n) => counts(n === 2 ? items.map(of) : [of(items[0])])));
  const mean = FIELDS.map((_, n) => documents.reduce((sum, fields) => sum + fields[n].length, 0) / documents.length || 1);
  const places = new Map();
  documents.forEach((fields, document) => {
    fields.forEach(({ found, length }, n) => {
      const { weight, spread } = FIELDS[n];
      for (const [term, times] of found) {
        const of = places.get(term) || new Map();
        places.set(term, of);
        of.set(document, (of.get(document) || 0) + (weight * times) / (1 + spread * (length / mean[n] - 1)));
      }
    });
  });
  return { places, size: documents.length };
}

let items, sections, pages, pageOf, first, headings;

function load(data) {
  items = data.items;
  const groups = new Map();
  items.forEach((item, id) => {
    const page = item.location.split("#")[0];
    groups.set(page, [...(groups.get(page) || []), id]);
  });
  first = [...groups.values()].map((ids) => ids[0]);
  pageOf = [];
  [...groups.values()].forEach((ids, page) => ids.forEach((id) => (pageOf[id] = page)));
  headings = items.map(({ title }) => said(plain(title)).map(({ stems }) => stems));
  sections = index(items.map((item) => [item]));
  pages = index([...groups.values()].map((ids) => ids.map((id) => items[id])));
}

// The words of a text without those that say little; all of them where nothing else is left.
function said(text) {
  const all = [...words(text)];
  const kept = all.filter(({ start, end }) => !STOP.has(text.slice(start, end).toLowerCase()));
  return kept.length ? kept : all;
}

// --- a query -----------------------------------------------------------------------------------------------------------

function near(word, other) {
  if (Math.abs(word.length - other.length) > 1) return false;
  let n = 0;
  while (n < word.length && word[n] === other[n]) n += 1;
  const [rest, others] = [word.slice(n), other.slice(n)];
  return rest.slice(1) === others || rest === others.slice(1) || rest.slice(1) === others.slice(1) ||
    (rest.slice(2) === others.slice(2) && rest[0] === others[1] && rest[1] === others[0]);
}

// The terms of the index that a word stands for, with their weights.
function terms(word, begun) {
  const found = new Map();
  for (const other of MEANT.get(word) || []) if (sections.places.has(other)) found.set(other, OTHER_WORD);
  if (sections.places.has(word)) found.set(word, 1);
  if (begun && word.length > 1)
    for (const term of sections.places.keys()) if (term.startsWith(word) && !found.has(term)) found.set(term, 0.5);
  if (!found.size && word.length > 3)
    for (const term of sections.places.keys()) if (near(word, term)) found.set(term, 0.5);
  return found;
}

function asked(input) {
  let text = input.toLowerCase();
  for (const [phrase, word] of PHRASES) text = text.replace(phrase, word);
  const found = said(text).map(({ stems, end }) => terms(stems[0], end === text.length));
  return found.filter((alternatives) => alternatives.size);
}

// How far a heading and a question say the same, from 0 to 1.
function alike(heading, query) {
  const share = (stems, alternatives) => Math.max(0, ...stems.map((each) => alternatives.get(each) || 0));
  const asks = query.map((alternatives) => Math.max(0, ...heading.map((stems) => share(stems, alternatives))));
  const says = heading.map((stems) => Math.max(0, ...query.map((alternatives) => share(stems, alternatives))));
  const mean = (values) => values.reduce((sum, each) => sum + each, 0) / (values.length || 1);
  return mean(asks) * mean(says);
}

function scores({ places, size }, query) {
  const found = new Map();
  for (const alternatives of query) {
    const best = new Map();
    for (const [term, weight] of alternatives) {
      const of = places.get(term) || new Map();
      const rare = Math.log(1 + (size - of.size + 0.5) / (of.size + 0.5));
      for (const [document, times] of of)
        best.set(document, Math.max(best.get(document) || 0, (weight * rare * times) / (times + 1.5)));
    }
    for (const [document, score] of best) {
      const { sum, matched } = found.get(document) || { sum: 0, matched: 0 };
      found.set(document, { sum: sum + score, matched: matched + 1 });
    }
  }
  return new Map([...found].map(([document, { sum, matched }]) => [document, sum * (matched / query.length)]));
}

function ranked(query) {
  const ofPages = scores(pages, query);
  const ofSections = scores(sections, query);
  first.forEach((id, page) => ofPages.has(page) && !ofSections.has(id) && ofSections.set(id, 0));
  const rows = [...ofSections].map(([id, score]) => {
    const room = MADE.test(items[id].location) ? 0.6 : ROOMS[(items[id].path || [])[0]] || 1;
    const heading = 1 + HEADING * alike(headings[id], query);
    return { id, score: room * heading * (score + (ofPages.get(pageOf[id]) || 0)) };
  });
  const shown = new Map();
  return rows
    .sort((a, b) => b.score - a.score || a.id - b.id)
    .filter(({ id }) => {
      const count = (shown.get(pageOf[id]) || 0) + 1;
      shown.set(pageOf[id], count);
      return count <= PER_PAGE;
    });
}

function matches(item, wanted) {
  const fields = { title: item.title, text: item.text };
  return Object.entries(fields).flatMap(([field, text]) => {
    const ranges = [...words(plain(text))]
      .filter(({ stems }) => stems.some((each) => wanted.has(each)))
      .map(({ start, end }) => ({ start, end, value: end - start }));
    return ranges.length ? [{ id: 0, field, score: 0, value: { highlight: { ranges } } }] : [];
  });
}

function answer({ input, page }) {
  const query = typeof input === "string" ? asked(input) : [];
  const rows = query.length ? ranked(query) : [];
  const wanted = new Set(query.flatMap((alternatives) => [...alternatives.keys()]));
  const from = page ? page.from : 0;
  const at = (start) => ({ id: 0, size: SIZE, from: start });
  return {
    items: rows.slice(from, from + SIZE).map(({ id, score }) => ({ id, score, matches: matches(items[id], wanted) })),
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
