/** Who else is on the session, and who holds the pen (the lease: the exclusive right to type). */

import { call, explain } from "../common/api";
import { CLIENT_ID } from "../common/client";
import { ask } from "../common/dialog";
import { byId, h, setText } from "../common/dom";
import type { Session } from "../common/model";
import type { Rights } from "../common/rights";
import { toast } from "../common/toast";

export class People {
  #session: Session;
  #place = byId("people");
  #pen = byId<HTMLButtonElement>("pen");

  /** `turned`: the pen was taken or given, or it was not; whoever did wants to type on. */
  constructor(
    session: Session,
    readonly may: Rights,
    readonly turned: () => void,
  ) {
    this.#session = session;
    this.#pen.hidden = !may.may("lease.acquire");
    this.#pen.addEventListener("click", () => void this.#turn());
    this.update(session);
  }

  /** Whether another holds the pen. */
  get taken(): boolean {
    const holder = this.#session.lease?.client_id ?? null;
    return holder !== null && holder !== CLIENT_ID;
  }

  update(session: Session): void {
    this.#session = session;
    const holder = session.lease?.client_id ?? null;
    const others = session.clients.filter(({ client_id }) => client_id !== CLIENT_ID);
    this.#place.replaceChildren(
      ...others.map((client) =>
        h(
          "li",
          { class: client.client_id === holder ? "holder" : null, title: describe(client, holder) },
          h("button", { type: "button", class: "quiet", onclick: () => void this.#offer(client.client_id) }, name(client)),
        ),
      ),
    );
    const count = others.length;
    byId("people-count").title = others.map(name).join(", ");
    setText(byId("people-count"), count === 0 ? "" : count === 1 ? "1 other" : `${count} others`);
    const mine = holder === CLIENT_ID;
    this.#pen.setAttribute("aria-pressed", String(mine));
    this.#pen.classList.toggle("taken", holder !== null && !mine);
    setText(this.#pen, mine ? "You have the pen" : holder ? `Pen: ${holder}` : "Take the pen");
    this.#pen.title = mine
      ? "Only you can type. Click to give the pen back, so that everybody can."
      : holder
        ? `Only ${holder} can type. Click to take the pen over.`
        : "Everybody can type. Take the pen so that only you can.";
  }

  async #turn(): Promise<void> {
    const { session_id, lease } = this.#session;
    const path = `v1/sessions/${session_id}/lease`;
    const holder = lease?.client_id ?? null;
    try {
      if (holder === null) await call("POST", path, { client_id: CLIENT_ID });
      else if (holder === CLIENT_ID) await call("DELETE", path, { client_id: CLIENT_ID });
      else {
        await ask({
          title: `Take the pen from ${holder}?`,
          body: "Whoever is typing there only watches from then on.",
          confirm: "Take it",
          act: () =>
            call("POST", `${path}/takeover`, {
              from_client_id: holder,
              reason: "taken in the browser",
              client_id: CLIENT_ID,
            }),
        });
      }
    } catch (error) {
      toast(explain(error), "bad");
    }
    this.turned();
  }

  /** Hand the pen to another, if we have it. */
  async #offer(target: string): Promise<void> {
    if (this.#session.lease?.client_id !== CLIENT_ID) return;
    await ask({
      title: `Hand the pen to ${target}?`,
      body: "Then only they can type.",
      confirm: "Hand it over",
      act: () =>
        call("POST", `v1/sessions/${this.#session.session_id}/lease/handoff`, {
          target_client_id: target,
          reason: "handed over in the browser",
          client_id: CLIENT_ID,
        }),
    });
  }
}

function name(client: { client_id: string; mode: string }): string {
  return client.mode === "viewer" ? `${client.client_id} (watching)` : client.client_id;
}

function describe(client: { client_id: string; rows: number; cols: number }, holder: string | null): string {
  const pen = client.client_id === holder ? ", holds the pen" : "";
  return `${client.client_id}, ${client.cols}×${client.rows}${pen}`;
}
