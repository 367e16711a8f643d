/**
 * The connection of a page to its session: a WebSocket that is made again whenever it breaks.
 *
 * After a loss it asks for the raw output from the offset it has reached, so that nothing is drawn twice and nothing
 * is missing; when the session does not keep that any more, it gets a gap and a snapshot.
 */

import { ApiError, call, goToLogin } from "../common/api";
import { socketAddress } from "../common/base";
import { WINDOW_BYTES } from "./acks";
import { type Frame, decode, detach, ping, pong } from "./frames";

const PROTOCOL = "ptybridge.v1";
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 15_000;
// A path that has died says nothing; three unanswered pings of this distance and it is given up.
const PING_EVERY_MS = 10_000;
const SILENCE_MS = 30_000;
// Close codes: 4000 and the HTTP status of the error (docs/websocket.md).
const UNAUTHENTICATED = 4401;
const REFUSED = 4400;
const REFUSED_FOR_NOW = 4500;

export interface Request {
  sessionId: string;
  clientId: string;
  viewer: boolean;
  size: () => { rows: number; cols: number };
}

interface Said {
  error?: { message: string };
  attached?: { mode: string };
}

export interface Handlers {
  frame: (frame: Frame) => void;
  /** Connected; `resumed` tells that output goes on where it had stopped. */
  open: (resumed: boolean) => void;
  /** On the session, and whether what is typed goes there. */
  attached: (writer: boolean) => void;
  /** Lost; the next attempt begins at `retryAt` (ms since the epoch). */
  lost: (retryAt: number, attempt: number) => void;
  /** It is no use to try again: why. */
  refused: (reason: string) => void;
}

export class Link {
  /** The offset up to which everything has been received; null: a snapshot is needed. */
  offset: number | null = null;
  #socket: WebSocket | null = null;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  #heardAt = 0;
  #ended = false;
  #refusal: string | null = null;

  constructor(
    readonly request: Request,
    readonly handlers: Handlers,
  ) {
    // A machine that wakes up, or a network that is back, need not wait for the next attempt.
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.retryNow();
    });
    addEventListener("pagehide", () => this.send(detach()));
  }

  get connected(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  connect(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { sessionId, clientId, viewer, size } = this.request;
    const { rows, cols } = size();
    const url = socketAddress(`v1/sessions/${sessionId}/attach`);
    // Without a mode who may not write watches; asked for, writing would be refused.
    const query = { rows, cols, client_id: clientId, window: WINDOW_BYTES, marks: true, ...(viewer && { mode: "viewer" }) };
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
    const resumed = this.offset !== null;
    if (resumed) url.searchParams.set("offset", String(this.offset));
    this.#refusal = null;
    const socket = new WebSocket(url, [PROTOCOL]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    let opened = false;
    socket.addEventListener("open", () => {
      opened = true;
      this.#heardAt = Date.now();
      this.#heartbeat = setInterval(() => this.#beat(socket), PING_EVERY_MS);
      this.handlers.open(resumed);
    });
    socket.addEventListener("message", ({ data }) => this.#receive(data as ArrayBuffer | string));
    socket.addEventListener("close", (event) => {
      if (this.#socket !== socket) return;
      clearInterval(this.#heartbeat);
      this.#socket = null;
      if (!this.#ended) void this.#lost(opened, event);
    });
  }

  /** Send a frame; false when there is no connection, and nothing was sent. */
  send(frame: Uint8Array): boolean {
    if (!this.connected) return false;
    this.#socket!.send(frame as Uint8Array<ArrayBuffer>);
    return true;
  }

  /** The session has ended, or we leave: do not connect again. */
  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    clearInterval(this.#heartbeat);
    this.#socket?.close(1000);
  }

  /** The daemon will end this connection, and that is the end. */
  expectEnd(): void {
    this.#ended = true;
  }

  /** Try at once instead of at the time that was told. */
  retryNow(): void {
    if (!this.#ended && !this.#socket && this.#timer !== undefined) this.connect();
  }

  #receive(data: ArrayBuffer | string): void {
    this.#heardAt = Date.now();
    if (typeof data === "string") {
      // What is said in text is about the attachment itself: that it is there, or why it is not.
      const { error, attached } = JSON.parse(data) as Said;
      if (error) this.#refusal = error.message;
      if (attached) this.handlers.attached(attached.mode === "writer");
      return;
    }
    for (const frame of decode(data)) {
      if (frame.type === "ping") this.send(pong(frame.token));
      else if (frame.type !== "pong") {
        this.#attempt = 0;
        this.handlers.frame(frame);
      }
    }
  }

  #beat(socket: WebSocket): void {
    if (Date.now() - this.#heardAt > SILENCE_MS) {
      // A dead peer answers no closing handshake either: do not wait for it.
      this.#socket = null;
      clearInterval(this.#heartbeat);
      socket.close();
      void this.#lost(true, null);
    } else {
      this.send(ping(crypto.getRandomValues(new Uint8Array(8))));
    }
  }

  async #lost(opened: boolean, event: CloseEvent | null): Promise<void> {
    const code = event?.code ?? 0;
    if (code === UNAUTHENTICATED) return goToLogin();
    if (code >= REFUSED && code < REFUSED_FOR_NOW) {
      this.#ended = true;
      return this.handlers.refused(this.#refusal ?? event?.reason ?? "");
    }
    // A refused upgrade tells a page nothing; the same question over HTTP is answered in words.
    if (!opened) {
      try {
        await call("GET", `v1/sessions/${this.request.sessionId}`, { detailed: false });
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) return goToLogin();
        if (error instanceof ApiError && !error.retryable && error.status < 500) {
          this.#ended = true;
          return this.handlers.refused(error.message);
        }
      }
    }
    if (this.#ended || this.#socket) return;
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#attempt, LONGEST_WAIT_MS);
    // Pages that lost the same server must not all come back in the same moment.
    const jittered = wait * (0.5 + Math.random() / 2);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.connect(), jittered);
    this.handlers.lost(Date.now() + jittered, this.#attempt);
  }
}
