/** The daemon's events, live. The browser connects again by itself and says which event it has seen last. */

import { goToLogin } from "./api";
import { address } from "./base";
import type { DaemonEvent } from "./model";

const TYPES = [
  "created",
  "exited",
  "output_closed",
  "closed",
  "attached",
  "detached",
  "lease_changed",
  "resized",
  "title",
  "bell",
  "notification",
  "idle",
  "waiting_for_input",
  "updated",
  "approval_requested",
  "approval_decided",
  "gap",
];
// The browser gives up for good on an answer that is no stream (a server that is just starting); we do not.
const AGAIN_MS = 3000;

export interface Following {
  event: (event: DaemonEvent) => void;
  /** Connected, at first or again: what happened before may have been missed. */
  open: () => void;
  lost: () => void;
}

export function followEvents(following: Following): () => void {
  const url = address("v1/events");
  let source: EventSource;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const receive = ({ type, data }: MessageEvent<string>) => {
    const event = JSON.parse(data) as DaemonEvent;
    following.event({ ...event, type: event.type || type });
  };
  const connect = () => {
    source = new EventSource(url);
    source.addEventListener("open", following.open);
    for (const type of ["message", ...TYPES]) source.addEventListener(type, receive);
    source.addEventListener("error", () => {
      following.lost();
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(timer);
      timer = setTimeout(() => void again(), AGAIN_MS);
    });
  };
  const again = async () => {
    try {
      // An EventSource does not tell why it failed; a login that has ended is worth knowing.
      if ((await fetch(address("v1/node"))).status === 401) return goToLogin();
    } catch {
      // Still away.
    }
    connect();
  };
  connect();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
