/** The sessions as the daemon last told them, kept fresh by its events. */

import { call } from "../common/api";
import { followEvents } from "../common/events";
import type { DaemonEvent, Session } from "../common/model";
import { oneAtATime } from "../common/one";

// Events come in bunches; one question after a bunch is enough.
const GATHER_MS = 80;
// Nothing tells that a program has begun to work again after it waited, so those are looked at now and then.
const LOOK_AGAIN_MS = 4000;

export interface Listener {
  changed: (sessions: Session[]) => void;
  event: (event: DaemonEvent, session: Session | undefined) => void;
  connection: (up: boolean) => void;
  /** Events come from now on. */
  connected: () => void;
}

export class Store {
  sessions: Session[] = [];
  readonly #refresh = oneAtATime(() => this.#ask(), GATHER_MS);

  constructor(readonly listener: Listener) {}

  start(): void {
    followEvents({
      open: () => {
        this.listener.connected();
        this.refresh();
      },
      lost: () => this.listener.connection(false),
      event: (event) => {
        this.listener.event(event, this.find(event.session_id));
        this.#apply(event);
        this.refresh();
      },
    });
    setInterval(() => {
      if (!document.hidden && this.sessions.some(({ state }) => state === "running")) this.refresh();
    }, LOOK_AGAIN_MS);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.refresh();
    });
    this.refresh();
  }

  find(id: string | null): Session | undefined {
    return this.sessions.find(({ session_id }) => session_id === id);
  }

  /** Ask again soon. */
  refresh(): void {
    void this.#refresh();
  }

  async #ask(): Promise<void> {
    try {
      const { sessions } = await call<{ sessions: Session[] }>("GET", "v1/sessions");
      this.sessions = sessions;
      this.listener.connection(true);
      this.listener.changed(sessions);
    } catch {
      this.listener.connection(false);
    }
  }

  /** What an event itself tells shows at once. */
  #apply(event: DaemonEvent): void {
    const session = this.find(event.session_id);
    if (!session) return;
    if (event.type === "title") session.title = String(event["title"] ?? "");
    else if (event.type === "waiting_for_input") session.waiting_for_input = true;
    else if (event.type === "exited") session.state = "exited";
    else return;
    this.listener.changed(this.sessions);
  }
}
