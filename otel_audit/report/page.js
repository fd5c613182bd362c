"use strict";

/* Lists the records, and checks again what can be checked without the inputs. Text of the log reaches the page as
   text only: no markup is ever made of it. */

const PAGE = 50;
const ACTIVE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const HASH = /,"hash":"([0-9a-f]{64})"\}$/;

const byId = (id) => document.getElementById(id);
const dataText = byId("data").textContent;
const itself = document.currentScript;
const statedText = readText(document.body).trim(); // now, before anything is listed
const data = JSON.parse(dataText);
const encoder = new TextEncoder();

const number = (value) => value.toLocaleString("en").replaceAll(",", "\u00a0");
const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
const does = (value, noun, one, many) => `${count(value, noun)} ${value === 1 ? one : many}`;
const spell = (text) =>
  String(text).replace(ACTIVE, (found) => `\\u{${found.codePointAt(0).toString(16).padStart(4, "0")}}`);
const short = (stream) => `…${stream.slice(-8)}`;

function readText(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  return /^(script|noscript|style)$/i.test(node.nodeName) ? "" : [...node.childNodes].map(readText).join("");
}

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

/* The records, as the table and the checks need them. */

function indexFindings() {
  const [streams, lines] = [new Map(), new Map()];
  const put = (map, key, found) => map.set(key, [...(map.get(key) ?? []), found]);
  for (const found of data.findings) {
    const [stream, seq, , input, line, , severity] = found;
    if (severity === "NOTE") continue;
    if (stream !== null && seq !== null) put(streams, stream, found);
    else if (input !== null && line !== null) put(lines, `${input}:${line}`, found);
  }
  return [streams, lines];
}

const [findingsByStream, findingsByLine] = indexFindings();

function readRecord([input, line, sound, follows, problem, text]) {
  let record = null;
  try {
    record = JSON.parse(text);
  } catch {
    record = null; // a line that is no record is listed as what it is
  }
  if (record === null || typeof record !== "object") record = {};
  const audit = record.audit ?? {};
  const actor = audit.actor ?? {};
  const target = audit.target ?? {};
  const { seq, stream } = record;
  const codes = [
    ...(findingsByStream.get(stream) ?? []).filter(([, first, many]) => first <= seq && seq < first + many),
    ...(findingsByLine.get(`${input}:${line}`) ?? []),
  ];
  const shown = {
    input, line, sound: Boolean(sound), follows, text, record, seq, stream,
    codes: [...new Map(codes.map((found) => [found[5], found[6]]))],
    time: String(record["@timestamp"] ?? ""),
    actor: String(actor.name ?? actor.id ?? ""),
    event: String(record.event_name ?? ""),
    target: [target.type, target.id ?? target.name].filter((part) => part !== undefined).join("/"),
    outcome: String(audit.outcome ?? ""),
    near: Boolean(problem),
  };
  shown.found = [shown.actor, shown.event, shown.target, shown.outcome, shown.time, stream, seq, record.message, audit.action,
    ...shown.codes.map(([code]) => code)].join(" ").toLowerCase();
  return shown;
}

function proofOf({ codes, seq, stream, sound }) {
  if (codes.some(([, severity]) => severity === "TAMPERED")) {
    return ["bad", `✘ ${codes.find(([, severity]) => severity === "TAMPERED")[0]}`];
  }
  if (codes.length) return ["doubt", `! ${codes[0][0]}`];
  const [, , signed, anchored, witnessed] = data.streams[stream] ?? ["", "", 0, 0, 0];
  if (!sound) return ["none", data.parsed ? "– parsed copy" : "– not re-derived"];
  if (seq <= witnessed) return ["good", "✔ witnessed"];
  if (seq <= anchored) return ["good", "✔ anchored"];
  if (seq <= signed) return ["good", "✔ signed"];
  return ["good", "✔ hash"];
}

const bySeq = (one, other) => (one.time < other.time ? 1 : one.time > other.time ? -1 : 0) || (other.seq ?? 0) - (one.seq ?? 0);
const all = data.records.map(readRecord);
all.sort((one, other) => other.codes.length - one.codes.length || other.near - one.near || bySeq(one, other));

/* The table. */

let matching = all;
let listed = 0;

function matches(record, words, kind, stream) {
  if (stream && record.stream !== stream) return false;
  if (kind === "problem" && !record.codes.length) return false;
  if (kind === "failure" && record.outcome === "success") return false;
  if (kind === "control" && !record.event.startsWith("audit.")) return false;
  return words.every((word) => record.found.includes(word));
}

function applyFilter() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  matching = all.filter((record) => matches(record, words, byId("kind").value, byId("stream").value));
  listed = 0;
  byId("rows").replaceChildren();
  byId("count").textContent = `${number(matching.length)} of ${number(all.length)}`;
  listMore();
}

function listMore() {
  const rows = matching.slice(listed, listed + PAGE).map((record, place) => rowOf(record, listed + place));
  byId("rows").append(...rows);
  listed += rows.length;
  byId("more").hidden = listed >= matching.length;
  const rest = matching.length - listed;
  byId("more").textContent = `Show ${Math.min(PAGE, rest)} more of ${number(rest)}`;
  byId("rest").textContent = rest ? `${count(rest, "more record")} of this file not printed.` : "";
}

function rowOf(record, place) {
  const row = element("tr");
  const [state, proof] = proofOf(record);
  if (record.codes.length) row.className = `problem ${state}`;
  const first = element("td", "", "mono");
  const button = element("button", spell(record.time ? record.time.slice(0, 23) + "Z" : "no record"));
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => toggle(row, button, record, place));
  first.append(button);
  const [label] = data.streams[record.stream] ?? [""];
  const stream = element("td", record.stream ? spell(label || short(record.stream)) : "", "who");
  if (record.stream) {
    stream.title = record.stream;
    if (label) stream.append(element("small", short(record.stream)));
  }
  const outcomeState = { success: "good", failure: "bad" }[record.outcome] ?? "none";
  row.append(
    first,
    element("td", spell(record.actor)),
    element("td", spell(record.event || record.text.slice(0, 120))),
    element("td", spell(record.target), "mono"),
    element("td", spell(record.outcome), `outcome ${outcomeState}`),
    stream,
    element("td", record.seq ?? "", "mono number"),
    element("td", spell(proof), `proof ${state}`),
  );
  return row;
}

function toggle(row, button, record, place) {
  const isOpen = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!isOpen));
  if (isOpen) {
    row.nextSibling.remove();
    return;
  }
  const detail = element("tr", "", "open");
  detail.id = `record-${place}`;
  button.setAttribute("aria-controls", detail.id);
  const cell = element("td");
  cell.colSpan = 8;
  for (const [code, severity] of record.codes) {
    const line = element("p", "");
    const link = element("a", code);
    link.href = `#finding-${code}`;
    line.append(link, ` (${severity.toLowerCase()})`);
    cell.append(line);
  }
  if (record.record.message) cell.append(element("p", spell(record.record.message)));
  cell.append(element("p", `${spell(data.inputs[record.input]?.[0] ?? "")}, line ${record.line}`, "quiet"));
  if (record.checked) cell.append(element("p", record.checked, "quiet"));
  const pretty = record.record.hash ? JSON.stringify(record.record, null, 2) : record.text;
  cell.append(element("pre", pretty.split("\n").map(spell).join("\n")));
  detail.append(cell);
  row.after(detail);
}

function showRecords() {
  const streams = [...new Set(all.map((record) => record.stream).filter(Boolean))];
  for (const stream of streams.slice(0, 500)) {
    const label = data.streams[stream]?.[0];
    byId("stream").append(new Option(label ? `${spell(label)} ${short(stream)}` : short(stream), stream));
  }
  byId("stream").parentElement.hidden = streams.length < 2;
  byId("filters").hidden = byId("table").hidden = all.length === 0;
  applyFilter();
  for (const id of ["filter", "kind", "stream"]) byId(id).addEventListener("input", applyFilter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("more").addEventListener("click", listMore);
  document.addEventListener("keydown", (event) => {
    const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      byId("filter").focus();
    }
  });
}

/* The checks. Each says what it found, and `alarm` is for what only a changed file can cause. */

function say(state, text) {
  const item = element("li", "", state);
  item.append(element("b", { good: "✔", bad: "✘", doubt: "!", none: "–" }[state]), text);
  byId("checks").append(item);
}

function alarm(text) {
  say("bad", text);
  byId("alarm").textContent ||= "✘ This file was changed after it was made. Do not rely on anything in it.";
  document.title = `✘ changed file - ${document.title}`;
}

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const unbase64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
const sha256 = async (bytes) => hex(await crypto.subtle.digest("SHA-256", bytes));

function prefixed(byte, ...parts) {
  const joined = new Uint8Array(1 + parts.reduce((sum, part) => sum + part.length, 0));
  joined[0] = byte;
  let at = 1;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

async function checkFile() {
  if (document.readyState === "loading") await new Promise((done) => addEventListener("DOMContentLoaded", done));
  const stated = (name) => document.querySelector(`meta[name="otel-audit-${name}"]`)?.content;
  const [text, carried] = [await sha256(encoder.encode(statedText)), await sha256(encoder.encode(dataText))];
  let behind = "";
  for (let more = itself.nextSibling; more; more = more.nextSibling) behind += readText(more).trim();
  const whole = text === stated("stated") && behind === "";
  if (!whole) alarm("The text of this page is not the one that was written into it.");
  if (carried !== stated("data")) alarm("The data of this page are not the ones that were written into it.");
  if (whole && carried === stated("data")) say("good", "The text and the data of this page are as they were made.");
}

async function checkHashes() {
  let good = 0;
  let listedBad = 0;
  const wrong = [];
  const records = all.filter((record) => record.seq !== undefined);
  for (let start = 0; start < records.length; start += 500) {
    await Promise.all(
      records.slice(start, start + 500).map(async (record) => {
        const tail = HASH.exec(record.text);
        const body = tail && record.text.slice(0, tail.index) + "}";
        const gives = tail ? await sha256(prefixed(0, encoder.encode(body))) : null;
        record.holds = tail !== null && gives === tail[1];
        record.checked = record.holds ? "Its hash was derived again here, and fits." : "Its hash was derived again here, and does not fit.";
        if (record.holds !== record.sound) wrong.push(record);
        else if (record.holds) good += 1;
        else listedBad += 1;
      }),
    );
  }
  if (wrong.length) {
    const named = wrong.slice(0, 5).map((record) => `${record.seq} of ${short(record.stream ?? "")}`).join(", ");
    alarm(`${does(wrong.length, "record", "does", "do")} not give the hash that was derived when this file was made: ${named}.`);
  }
  if (good) say("good", `${does(good, "record", "gives", "give")} the hash that was sealed in.`);
  if (listedBad) {
    const why = data.parsed ? "as parsed copies, whose sealed bytes cannot be derived here" : "as the findings say";
    say(data.parsed ? "none" : "bad", `${does(listedBad, "record", "does", "do")} not, ${why}.`);
  }
}

/* Hashes of the records that hold, by stream and number: two at one number are two versions of history. */
function hashesByStream() {
  const streams = new Map();
  for (const { stream, seq, holds, record } of all) {
    if (!holds) continue;
    if (!streams.has(stream)) streams.set(stream, new Map());
    const own = streams.get(stream);
    own.set(seq, (own.get(seq) ?? new Set()).add(record.hash));
  }
  return streams;
}

function checkLinks(streams) {
  const tally = [0, 0, 0];
  const wrong = [];
  for (const record of all) {
    const before = record.holds && streams.get(record.stream).get(record.seq - 1);
    const follows = !before ? 0 : before.has(record.record.prev_hash) ? 2 : 1;
    tally[follows] += 1;
    if (follows !== record.follows) wrong.push(record);
  }
  if (wrong.length) alarm(`${does(wrong.length, "record", "does", "do")} not follow the record before as when this file was made.`);
  if (tally[2]) say("good", `${does(tally[2], "record", "names", "name")} the hash of the record before, which is in this file, too.`);
  if (tally[1]) say("bad", `${does(tally[1], "record", "does", "do")} not follow the one before.`);
}

const node = async (left, right) => new Uint8Array(await crypto.subtle.digest("SHA-256", prefixed(1, left, right)));

async function rootOfComplete(leaves) {
  let level = leaves;
  while (level.length > 1) {
    const pairs = Array.from({ length: level.length / 2 }, (_, place) => node(level[2 * place], level[2 * place + 1]));
    level = await Promise.all(pairs);
  }
  return level[0];
}

/* The root of a tree (RFC 9162, section 2.1) that begins with complete subtrees, largest first, over `size` leaves. */
async function rootOf(size, subtrees, leaves) {
  const stack = [...subtrees];
  let at = 0;
  let total = size;
  while (at < leaves.length) {
    let width = 1;
    while (2 * width <= leaves.length - at && total % (2 * width) === 0) width *= 2;
    let root = await rootOfComplete(leaves.slice(at, at + width));
    for (let below = total / width; below % 2 === 1; below = (below - 1) / 2) root = await node(stack.pop(), root);
    stack.push(root);
    at += width;
    total += width;
  }
  let root = stack.pop();
  while (stack.length) root = await node(stack.pop(), root);
  return root === undefined ? "" : hex(root);
}

async function checkSignature(note, signature) {
  let payload = unbase64(signature.payload);
  let message = note.text;
  if (signature.kind === "cosignature") {
    message = `cosignature/v1\ntime ${new DataView(payload.buffer).getBigUint64(0)}\n${note.text}`;
    payload = payload.slice(8);
  }
  const key = await crypto.subtle.importKey("raw", unbase64(signature.key), { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, key, payload, encoder.encode(message));
}

async function checkCheckpoints(streams) {
  const signatures = data.checkpoints.flatMap((note) => note.signatures.map((signature) => [note, signature]));
  const tally = { good: 0, bad: 0, cannot: 0 };
  for (const [note, signature] of signatures) {
    if (signature.kind === "other") {
      tally.cannot += 1;
      continue;
    }
    let good;
    try {
      good = await checkSignature(note, signature);
    } catch {
      tally.cannot += 1; // this browser has no Ed25519
      continue;
    }
    if (good !== signature.good) alarm(`A signature of ${spell(signature.name)} gives another result than when this file was made.`);
    tally[good ? "good" : "bad"] += 1;
  }
  const whose = data.checkpoints.every((note) => note.trusted) ? "by keys that the policy trusts" : "by keys that the log itself names, which proves little";
  if (tally.good) say(whose.includes("little") ? "doubt" : "good", `Signatures of checkpoints: ${number(tally.good)} good, ${whose}.`);
  if (tally.bad) say("bad", `Signatures of checkpoints: ${number(tally.bad)} bad, as the findings say.`);
  if (tally.cannot) say("none", `Signatures of checkpoints: ${number(tally.cannot)} cannot be checked by this browser (it has no Ed25519, or they are of another type).`);
  await checkRoots(streams);
}

async function checkRoots(streams) {
  const tally = { true: 0, false: 0, null: 0 };
  for (const note of data.checkpoints) {
    const [size, subtrees] = data.trees[note.stream] ?? [0, []];
    const own = streams.get(note.stream) ?? new Map();
    const length = Math.max(0, Math.min(note.size - size, own.size));
    const leaves = Array.from({ length }, (_, place) => [...(own.get(size + place + 1) ?? [])]);
    const isWhole = size + length === note.size && leaves.every((leaf) => leaf.length === 1);
    const known = leaves.map(([leaf]) => leaf && unhex(leaf));
    const leads = isWhole ? (await rootOf(size, subtrees.map(unhex), known)) === note.root : null;
    if (leads !== note.leads) alarm(`The records of ${short(note.stream)} do not lead to the root that was signed over them.`);
    tally[leads] += 1;
  }
  const above = Object.keys(data.trees).length ? ", with the tree over those before," : "";
  if (tally.true) say("good", `${count(tally.true, "checkpoint")}: the records in this file${above} lead to the signed root.`);
  if (tally.false) say("bad", `${count(tally.false, "checkpoint")}: the records in this file do not lead to the signed root.`);
  if (tally.null) say("none", `${count(tally.null, "checkpoint")}: not all that it takes is in this file, so the root was compared when it was made, and cannot be here.`);
}

async function compareFiles(event) {
  const said = [];
  for (const file of event.target.files) {
    const digest = await sha256(await file.arrayBuffer());
    const known = data.inputs.filter(([, stated]) => stated === digest);
    said.push(known.length ? `✔ ${spell(file.name)} is ${spell(known[0][0])}` : `✘ ${spell(file.name)} is none of them, byte for byte`);
  }
  byId("compared").textContent = said.join("; ");
}

async function checkAll() {
  if (!globalThis.crypto?.subtle) {
    say("none", "This browser offers no WebCrypto here (it wants https, localhost or a local file), so nothing was checked again.");
    return;
  }
  byId("compare").hidden = byId("shown").hidden = false;
  byId("file").addEventListener("change", compareFiles);
  await checkFile();
  await checkHashes();
  const streams = hashesByStream();
  checkLinks(streams);
  await checkCheckpoints(streams);
}

const closed = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    closed.push(details);
  }
});
addEventListener("afterprint", () => {
  for (const details of closed.splice(0)) details.open = false;
});

byId("unrun").hidden = true;
showRecords();
setTimeout(async () => {
  try {
    await checkAll();
  } catch (error) {
    alarm(`The check could not be made to its end: ${spell(error.message)}`);
  }
  document.documentElement.dataset.checked = "yes";
});
