/** What a session is doing, as one word. */

import { type Session, ending } from "../common/model";

export type State = "waiting" | "running" | "idle" | "ended" | "failed";

// Nothing printed for so long, and nobody is asked for anything: idle.
const IDLE_MS = 60_000;

export function stateOf(session: Session, now: number): State {
  if (session.state !== "running") return session.exit_code === 0 ? "ended" : "failed";
  if (session.waiting_for_input) return "waiting";
  if (session.shell_integration === "prompt") return "idle";
  return now - session.last_active_at_ms > IDLE_MS ? "idle" : "running";
}

export function stateText(session: Session, now: number): string {
  switch (stateOf(session, now)) {
    case "waiting":
      return "waits for input";
    case "running":
      return "running";
    case "idle":
      return session.shell_integration === "prompt" ? "at its prompt" : "idle";
    default:
      return ending(session);
  }
}
