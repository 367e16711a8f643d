/** The line page: for programs that read lines and write lines. Output is text with colours, input is a line. */

import "../common/base.css";
import "./line.css";

import { call, explain, goToLogin } from "../common/api";
import { CLIENT_ID } from "../common/client";
import { address, socketAddress } from "../common/base";
import { ask } from "../common/dialog";
import { byId, h, setText } from "../common/dom";
import { type Session, commandLine, ending, label } from "../common/model";
import { allow, rights } from "../common/rights";
import { followTheme } from "../common/theme";
import { toast } from "../common/toast";
import { Colours } from "./sgr";

interface Said {
  stdout?: string;
  stderr?: string;
  next_offset?: number;
  queue_position?: number;
  gap?: { from_offset: number; to_offset: number };
  exit_reason?: string;
  exit_code?: number | null;
  exit_signal?: string | null;
  error?: { message: string };
}

const PROTOCOL = "ptybridge.v1";
const UNAUTHENTICATED = 4401;
const REFUSED = 4400;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
// More nodes make a browser slow; whoever wants all of it has the API.
const MOST_PIECES = 5000;
const MOST_HISTORY = 200;

const output = byId("output");
const line = byId<HTMLInputElement>("line");
const sessionId = location.pathname.split("/").pop() ?? "";
const colours = { stdout: new Colours(), stderr: new Colours() };
let session: Session;
let socket: WebSocket | null = null;
let offset: number | null = null;
let attempt = 0;
let ended = false;

// -- output -------------------------------------------------------------------------------------------------

function add(...nodes: Node[]): void {
  // Who has scrolled up to read stays there.
  const follows = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
  output.append(...nodes);
  while (output.childNodes.length > MOST_PIECES) output.firstChild?.remove();
  if (follows) output.scrollTop = output.scrollHeight;
}

function note(text: string): void {
  add(h("div", { class: "note" }, text));
}

function receive(said: Said): void {
  if (said.stdout) add(...colours.stdout.render(said.stdout));
  if (said.stderr) add(h("span", { class: "stderr" }, ...colours.stderr.render(said.stderr)));
  if (said.next_offset !== undefined) offset = said.next_offset;
  if (said.gap) note(`${said.gap.to_offset - said.gap.from_offset} bytes of output are not kept any more`);
  if (said.queue_position) setText(byId("state"), `Waiting behind ${said.queue_position} other inputs`);
  if (said.error) toast(said.error.message, "bad");
  if (said.exit_reason !== undefined) over(said);
}

function over(said: Said): void {
  ended = true;
  const how = { exit_code: said.exit_code ?? null, exit_signal: said.exit_signal ?? null, exit_reason: said.exit_reason ?? null };
  setText(byId("state"), ending(how));
  note(`– ${ending(how)} –`);
  line.disabled = true;
  byId<HTMLButtonElement>("interrupt").disabled = true;
}

// -- the connection -----------------------------------------------------------------------------------------

function connect(): void {
  const url = socketAddress(`v1/sessions/${sessionId}/attach`);
  const query = { mode: "text", ansi: "colour", client_id: CLIENT_ID, ...(offset !== null && { offset: String(offset) }) };
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const made = new WebSocket(url, [PROTOCOL]);
  socket = made;
  made.addEventListener("open", () => {
    attempt = 0;
    setText(byId("state"), "Connected");
  });
  made.addEventListener("message", ({ data }) => receive(JSON.parse(data as string) as Said));
  made.addEventListener("close", ({ code, reason }) => {
    socket = null;
    if (ended) return;
    if (code === UNAUTHENTICATED) return goToLogin();
    if (code >= REFUSED && code < 4500) return setText(byId("state"), reason || "Refused");
    setText(byId("state"), "Connection lost, trying again …");
    setTimeout(connect, Math.min(FIRST_WAIT_MS * 2 ** attempt++, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2));
  });
}

function send(message: object): boolean {
  if (socket?.readyState !== WebSocket.OPEN) {
    toast("There is no connection; nothing was sent.", "bad");
    return false;
  }
  socket.send(JSON.stringify(message));
  return true;
}

// -- input --------------------------------------------------------------------------------------------------

// In memory only: lines may be secrets.
const history: string[] = [];
let at = 0;

function submit(): void {
  const text = line.value;
  if (!send({ stdin: text, newline: true })) return;
  // A terminal echoes what is typed; pipes do not.
  if (session.backend === "pipes") add(h("div", { class: "sent" }, `› ${text}`));
  setText(byId("state"), "Connected");
  if (text && history.at(-1) !== text) history.push(text);
  history.splice(0, Math.max(0, history.length - MOST_HISTORY));
  at = history.length;
  line.value = "";
}

line.addEventListener("keydown", (event) => {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (event.ctrlKey && event.key === "c" && line.selectionStart === line.selectionEnd) interrupt();
  else if (step === undefined || event.isComposing) return;
  else line.value = history[(at = Math.min(history.length, Math.max(0, at + step)))] ?? "";
  event.preventDefault();
});

function interrupt(): void {
  // A terminal makes a signal of the key; without one it is sent.
  send(session.backend === "pipes" ? { signal: "INT" } : { stdin: "\x03" });
  line.focus();
}

async function end(): Promise<void> {
  const done = await ask({
    title: `End “${label(session)}”?`,
    body: h("p", {}, "Its processes are ended and its output is forgotten: ", h("code", {}, commandLine(session))),
    confirm: "End it",
    danger: true,
    act: async () => {
      ended = true;
      try {
        await call("DELETE", `v1/sessions/${sessionId}`);
      } catch (error) {
        ended = false;
        throw error;
      }
    },
  });
  if (done) location.assign(address(""));
}

followTheme();
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
byId("interrupt").addEventListener("click", interrupt);
byId("end").addEventListener("click", () => void end());
try {
  session = await call<Session>("GET", `v1/sessions/${sessionId}`, { detailed: false });
  setText(byId("name"), label(session));
  const may = await rights();
  const write = may.refusal("session.write", session);
  // A shared session is ended, and sent signals, by whoever shares it, from the list of sessions.
  byId("end").hidden = session.shared || !may.may("session.close");
  allow(byId<HTMLButtonElement>("end"), may.refusal("session.close", session));
  const signal = session.backend === "pipes" ? "session.signal" : "session.write";
  byId("interrupt").hidden = (session.shared && session.backend === "pipes") || !may.may(signal);
  allow(byId<HTMLButtonElement>("interrupt"), may.refusal(signal, session));
  line.disabled = write !== null;
  byId<HTMLButtonElement>("send").disabled = write !== null;
  if (write !== null) line.placeholder = `Watching only. ${write}`;
  document.title = label(session);
  connect();
  line.focus();
} catch (error) {
  setText(byId("state"), explain(error));
}
