/**
 * The page around what a program draws. The program's document is in a sandbox with an origin of its own and can only
 * say which of its paths it wants next; this page has the login and does the asking.
 */

import "../common/base.css";
import "./app.css";

import { call } from "../common/api";
import { address } from "../common/base";
import { byId } from "../common/dom";
import { type Session, label } from "../common/model";
import { followTheme } from "../common/theme";

const frame = byId<HTMLIFrameElement>("program");
const root = address("s/").pathname;
const sessionId = location.pathname.slice(root.length).split("/")[0] ?? "";
const base = `${root}${sessionId}/app/`;

/** Show what this page's address says. */
function show(): void {
  const path = location.pathname.slice(base.length);
  // Replaced, so that the browser's history has only our own steps.
  frame.contentWindow?.location.replace(address(`s/${sessionId}/frame/${path}${location.search}`).href);
}

addEventListener("message", ({ source, data }: MessageEvent<unknown>) => {
  if (source !== frame.contentWindow || typeof data !== "object" || data === null) return;
  const { ptybridge, path } = data as { ptybridge?: unknown; path?: unknown };
  if (ptybridge === "again") return show();
  if (ptybridge !== "go" || typeof path !== "string") return;
  const wanted = new URL(path.replace(/^\/+/, ""), new URL(base, location.href));
  if (wanted.origin !== location.origin || !wanted.pathname.startsWith(base)) return;
  history.pushState(null, "", wanted);
  show();
});
addEventListener("popstate", show);

followTheme();
const session = await call<Session>("GET", `v1/sessions/${sessionId}`, { detailed: false });
document.title = label(session);
show();
