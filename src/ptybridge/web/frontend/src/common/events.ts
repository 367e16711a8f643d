/**
 * The daemon's events, live; one connection for all tabs of a browser.
 *
 * Over HTTP/1.1 a browser has six connections to a server for all its tabs, so six tabs that listen would leave none
 * for anything else. The tab that holds a lock listens and passes on what it hears; when it is closed the lock, and
 * with it the listening, goes to another.
 */

import { goToLogin } from "./api";
import { BASE, address } from "./base";
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

/** What tabs tell each other. `to`: only for the tab that has asked. */
type Message = { said: "event"; event: DaemonEvent } | { said: "open"; to?: string } | { said: "lost" } | { said: "hello"; from: string };

export function followEvents(following: Following): void {
  const name = `ptybridge.events ${BASE.pathname}`;
  // Without a secure context there are no locks: then each tab listens for itself.
  if (!("locks" in navigator)) return listen(following);
  const id = Math.random().toString(36).slice(2);
  const channel = new BroadcastChannel(name);
  const tell = (message: Message) => channel.postMessage(message);
  let listens = false;
  let connected = false;
  channel.addEventListener("message", ({ data }: MessageEvent<Message>) => {
    if (data.said === "hello" && listens && connected) tell({ said: "open", to: data.from });
    if (listens) return;
    if (data.said === "event") following.event(data.event);
    else if (data.said === "open" && (data.to === undefined || data.to === id)) following.open();
    else if (data.said === "lost") following.lost();
  });
  tell({ said: "hello", from: id });
  void navigator.locks.request(name, () => {
    listens = true;
    listen({
      event: (event) => {
        following.event(event);
        tell({ said: "event", event });
      },
      open: () => {
        connected = true;
        following.open();
        tell({ said: "open" });
      },
      lost: () => {
        connected = false;
        following.lost();
        tell({ said: "lost" });
      },
    });
    // Held until this tab is gone.
    return new Promise<never>(() => undefined);
  });
}

function listen(following: Following): void {
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
}
