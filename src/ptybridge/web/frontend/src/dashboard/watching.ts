/** Sessions this browser watches: it says so when one waits for input or ends. */

import { address } from "../common/base";
import { type Session, ending, label } from "../common/model";
import { recall, remember } from "../common/storage";
import { toast } from "../common/toast";

export function isWatched(id: string): boolean {
  return watched().has(id);
}

/** Watch, or no longer; the first time the browser asks whether it may notify. */
export async function toggleWatch(session: Session): Promise<void> {
  const ids = watched();
  if (ids.delete(session.session_id)) {
    save(ids);
    return;
  }
  save(ids.add(session.session_id));
  if ("Notification" in window && Notification.permission === "default") await Notification.requestPermission();
  if (!("Notification" in window) || Notification.permission !== "granted") {
    toast(`Watching ${label(session)}. The browser does not allow notifications, so this page itself will tell.`);
  }
}

/** Tell that a watched session waits or has ended. */
export function tellWatched(session: Session, type: "waiting_for_input" | "exited", exit: Partial<Session>): void {
  if (!isWatched(session.session_id)) return;
  const text =
    type === "waiting_for_input"
      ? `${label(session)} waits for input`
      : `${label(session)} ${ending({ exit_code: null, exit_signal: null, exit_reason: null, ...exit })}`;
  if (type === "exited") {
    const ids = watched();
    ids.delete(session.session_id);
    save(ids);
  }
  toast(text);
  if (!("Notification" in window) || Notification.permission !== "granted") return;
  // One per session: the newest replaces the one before.
  const notification = new Notification(text, { tag: session.session_id, icon: address("static/icon.svg").href });
  notification.addEventListener("click", () => {
    focus();
    location.assign(address(`s/${session.session_id}`));
  });
}

/** Forget sessions that are no more. */
export function pruneWatched(existing: Session[]): void {
  const known = new Set(existing.map(({ session_id }) => session_id));
  const ids = watched();
  const kept = new Set([...ids].filter((id) => known.has(id)));
  if (kept.size !== ids.size) save(kept);
}

function watched(): Set<string> {
  return new Set((recall("watched") ?? "").split(" ").filter(Boolean));
}

function save(ids: Set<string>): void {
  remember("watched", [...ids].join(" ") || null);
}
