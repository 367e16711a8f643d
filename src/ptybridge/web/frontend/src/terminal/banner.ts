/** What is said about the connection, over the top of the terminal, and what is said when the session is over. */

import { sentence } from "../common/api";
import { address } from "../common/base";
import { confirmed } from "../common/confirm";
import { ask } from "../common/dialog";
import { byId, h, setText } from "../common/dom";
import { type Session, commandLine, ending } from "../common/model";
import { duration } from "../common/time";
import type { Exit } from "./frames";

const LOST_AGAIN_MS = 500;

interface Shown {
  kind?: "info" | "wait";
  /** How long it is said; without it until something else is, or `clearBanner`. */
  ms?: number;
  action?: { label: string; act: () => void };
}

const banner = byId("banner");
const said = h("span", {});
let act = (): void => undefined;
// One button for all that is said: another one would take the click from who is just pressing.
const button = h("button", { type: "button", onclick: () => act() });
banner.append(said, button);
let countdown: ReturnType<typeof setInterval> | undefined;
let over: ReturnType<typeof setTimeout> | undefined;

/** Say something over the top of the terminal, which keeps its size meanwhile; with a button if there is something to do. */
export function setBanner(text: string, { kind = "info", ms, action }: Shown = {}): void {
  clearInterval(countdown);
  clearTimeout(over);
  banner.className = kind;
  setText(said, text);
  button.hidden = action === undefined;
  setText(button, action?.label ?? "");
  act = action?.act ?? (() => undefined);
  banner.hidden = false;
  if (ms !== undefined) over = setTimeout(clearBanner, ms);
}

export function clearBanner(): void {
  clearInterval(countdown);
  clearTimeout(over);
  banner.hidden = true;
}

export function showLost(retryAt: number, retry: () => void): void {
  const text = () => {
    const seconds = Math.ceil((retryAt - Date.now()) / 1000);
    return `Connection lost. What you type is not sent. ${seconds > 1 ? `Trying again in ${seconds} s …` : "Connecting …"}`;
  };
  setBanner(text(), { kind: "wait", action: { label: "Now", act: retry } });
  countdown = setInterval(() => setText(said, text()), LOST_AGAIN_MS);
}

/** The session is over: how, how long it took, and what to do now; `again`: it may be run again. */
export function showEnd(session: Session, exit: Exit, again: boolean): void {
  const good = exit.exit_code === 0;
  const ms = (session.exited_at_ms ?? Date.now()) - session.created_at_ms;
  const ran = ms < 1000 ? "less than a second" : duration(ms);
  // Nobody types any more.
  document.body.classList.add("over");
  const strip = byId("ending");
  strip.replaceChildren(
    h("h2", { class: good ? "good" : "bad" }, `${good ? "✓" : "✕"} ${sentence(`${ending(exit)} `).trim()}`),
    h("p", { class: "hint" }, h("code", {}, commandLine(session)), ` · ran for ${ran}`),
    h(
      "div",
      { class: "actions" },
      h("a", { class: "button", href: address("").href }, "All sessions"),
      again && h("button", { type: "button", class: "primary", onclick: () => void runAgain(session) }, "Run again"),
    ),
  );
  strip.hidden = false;
}

/** Instead of a terminal: why there is none. */
export function showRefused(reason: string): void {
  showCard("This session cannot be shown", reason, h("a", { class: "button primary", href: address("").href }, "All sessions"));
}

/** We were sent away from a session that goes on. */
export function showDetached(reason: string): void {
  showCard(
    "You were detached",
    reason,
    h("a", { class: "button", href: address("").href }, "All sessions"),
    h("button", { type: "button", class: "primary", onclick: () => location.reload() }, "Attach again"),
  );
}

function showCard(title: string, reason: string, ...actions: HTMLElement[]): void {
  const card = byId("ending");
  document.body.classList.add("refused");
  card.replaceChildren(
    h("h2", { class: "bad" }, title),
    h("p", {}, sentence(reason)),
    h("div", { class: "actions" }, ...actions),
  );
  card.hidden = false;
  actions.at(-1)?.focus();
}

async function runAgain(session: Session): Promise<void> {
  const { command, cwd, name, tags, rows, cols, backend } = session;
  await ask({
    title: "Run it again?",
    body: h("p", {}, h("code", {}, commandLine(session)), ` in ${cwd}`),
    confirm: "Run again",
    act: async () => {
      const wanted = { command, cwd, name, tags, rows, cols, backend };
      const made = await confirmed<Session>("session.create", "v1/sessions", wanted);
      location.assign(address(`s/${made.session_id}`));
    },
  });
}
