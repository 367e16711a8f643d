/** The dashboard: all sessions of this node, live. */

import "../common/base.css";
import "./dashboard.css";

import { call, explain, logOut } from "../common/api";
import { Approvals } from "../common/approvals";
import { address } from "../common/base";
import { tell } from "../common/dialog";
import { byId, h, isTyping, setText } from "../common/dom";
import type { Session } from "../common/model";
import { type Rights, rights } from "../common/rights";
import { followTheme, toggleTheme } from "../common/theme";
import { toast } from "../common/toast";
import { createSession } from "./create";
import { endSession, renameSession } from "./edit";
import { List } from "./list";
import { Store } from "./store";
import { pruneWatched, tellWatched, toggleWatch } from "./watching";

const KEYS: [string, string][] = [
  ["/", "search"],
  ["n", "new session"],
  ["j", "next (also ↓)"],
  ["k", "previous (also ↑)"],
  ["Enter", "open"],
  ["r", "name and tags"],
  ["w", "watch: tell me when it waits for input or ends"],
  ["x", "end"],
  ["?", "this help"],
];

/** Until the server has told, everything is taken to be allowed: it refuses by itself what is not. */
let may: Rights | null = null;

const list = new List({
  refusal: (operation, session) => may?.refusal(operation, session) ?? null,
  rename: (session) => allowed("session.update", session, () => renameSession(session).then(() => store.refresh())),
  end: (session) => allowed("session.close", session, () => endSession(session).then(() => store.refresh())),
  watch: (session) => void toggleWatch(session).then(() => list.show()),
});

const store = new Store({
  changed: (sessions) => {
    pruneWatched(sessions);
    list.update(sessions);
    announce(sessions);
    waiting = sessions.filter((session) => session.state === "running" && session.waiting_for_input).length;
    showTitle();
  },
  event: (event, session) => {
    approvals?.event(event);
    if (!session) return;
    if (event.type === "waiting_for_input" || event.type === "exited") {
      tellWatched(session, event.type, event as Partial<Session>);
    }
  },
  connection: (up) => {
    byId("lost").hidden = up;
  },
  connected: () => void approvals?.refresh(),
});

/** Do it, or say why not: keys reach what a disabled button does not. */
function allowed(operation: string, session: Session, act: () => Promise<unknown>): void {
  const refusal = may?.refusal(operation, session) ?? null;
  if (refusal === null) void act();
  else toast(refusal);
}

function create(): void {
  if (may && !may.may("session.create")) toast("Your login does not allow starting sessions.");
  else void createSession();
}

let approvals: Approvals | null = null;
let waiting = 0;
let asked = 0;

/** The tab tells how much waits for somebody. */
function showTitle(): void {
  const count = waiting + asked;
  document.title = count ? `(${count}) ptybridge` : "ptybridge";
}

function showApprovals(may: Rights): void {
  const place = byId("approvals");
  approvals = new Approvals(may, place, (open, fresh) => {
    place.hidden = !open.length;
    asked = open.length;
    showTitle();
    if (fresh.length) toast(fresh.length === 1 ? "Somebody asks for your permission." : `${fresh.length} questions wait for an answer.`);
  });
  void approvals.refresh();
}

let spoken = "";

/** Tell screen readers how things stand, when that has changed. */
function announce(sessions: Session[]): void {
  const running = sessions.filter(({ state }) => state === "running");
  const waiting = running.filter(({ waiting_for_input }) => waiting_for_input);
  const text = `${running.length} running, ${waiting.length} waiting for input`;
  if (text !== spoken) setText(byId("announce"), (spoken = text));
}

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target)) {
    // From the search field down into the list.
    if (event.key === "Escape") (event.target as HTMLElement).blur();
    else if (event.key === "ArrowDown" || event.key === "Enter") list.move(1);
    else return;
    return event.preventDefault();
  }
  const selected = list.selected;
  const act: Record<string, () => void> = {
    "/": () => list.search(),
    "?": help,
    n: create,
    j: () => list.move(1),
    ArrowDown: () => list.move(1),
    k: () => list.move(-1),
    ArrowUp: () => list.move(-1),
    ...(selected && {
      r: () => list.actions.rename(selected),
      w: () => list.actions.watch(selected),
      x: () => list.actions.end(selected),
    }),
  };
  const action = act[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

function help(): void {
  const rows = KEYS.map(([key, what]) => h("tr", {}, h("th", {}, h("kbd", {}, key)), h("td", {}, what)));
  void tell("Keys", h("table", { class: "keys" }, h("tbody", {}, ...rows)));
}

async function showNode(): Promise<void> {
  const node = await call<{ hostname?: string; version?: string; user?: string }>("GET", "v1/node");
  setText(byId("node"), [node.user && node.hostname ? `${node.user}@${node.hostname}` : node.hostname, node.version]
    .filter(Boolean)
    .join(" · "));
}

followTheme();
document.addEventListener("keydown", onKey);
byId("new").addEventListener("click", create);
byId("help").addEventListener("click", help);
byId("logout").addEventListener("click", () => {
  logOut().catch((error: unknown) => toast(explain(error), "bad"));
});
byId("theme").addEventListener("click", toggleTheme);
store.start();
rights().then(
  (found) => {
    may = found;
    byId("new").hidden = !found.may("session.create");
    list.mayCreate = found.may("session.create");
    list.show();
    showApprovals(found);
  },
  () => undefined,
);
// Only a line in the header; without it everything works.
showNode().catch(() => undefined);
// A link may ask for the dialog: <base>?new
if (new URLSearchParams(location.search).has("new")) {
  history.replaceState(null, "", address("").pathname);
  create();
}
