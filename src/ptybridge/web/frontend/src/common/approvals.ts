/** Questions that the policy puts to a person: who wants to do what, and the answer. */

import "./approvals.css";

import { call, explain } from "./api";
import { address } from "./base";
import { h, setText } from "./dom";
import type { DaemonEvent } from "./model";
import { oneAtATime } from "./one";
import type { Rights } from "./rights";
import { duration } from "./time";

export interface Approval {
  approval_id: string;
  operation: string;
  command: string | null;
  justification: string | null;
  rule: string;
  matches: { rule: string; reason: string }[];
  principal: string;
  profile: string | null;
  client_id: string | null;
  session_id: string | null;
  cwd: string | null;
  expires_at_ms: number;
  decidable: boolean;
}

const LOOK_AGAIN_MS = 15_000;
const WANTS: Record<string, string> = {
  "session.create": "start a session",
  "exec.run": "run a program",
  "exec.stream": "run a program",
  "command.run": "run a command in a session",
};

/** Keeps the open questions, and cards for them in a place of the page. */
export class Approvals {
  #open: Approval[] = [];
  #cards = new Map<string, Card>();

  /** `changed` gets the open questions, and those for us that were not there before. */
  constructor(
    readonly may: Rights,
    readonly place: HTMLElement,
    readonly changed: (open: Approval[], fresh: Approval[]) => void,
  ) {
    // Those that nobody answers expire, and some say how long they have.
    setInterval(() => this.#open.length && void this.refresh(), LOOK_AGAIN_MS);
  }

  /** To be told of each event. */
  event({ type }: DaemonEvent): void {
    if (type === "approval_requested" || type === "approval_decided" || type === "gap") void this.refresh();
  }

  readonly refresh = oneAtATime(() => this.#ask());

  async #ask(): Promise<void> {
    if (!this.may.may("approval.list")) return;
    let found: Approval[];
    try {
      found = (await call<{ approvals: Approval[] }>("GET", "v1/approvals")).approvals;
    } catch {
      return; // no connection: the page says so elsewhere
    }
    const fresh = found.filter(({ approval_id }) => !this.#cards.has(approval_id));
    const there = new Set(found.map(({ approval_id }) => approval_id));
    for (const [id, card] of this.#cards) {
      if (there.has(id)) continue;
      card.element.remove();
      this.#cards.delete(id);
    }
    this.#open = found;
    for (const one of found) this.#show(one);
    this.changed(found, fresh.filter(({ decidable }) => decidable));
  }

  #show(one: Approval): void {
    let card = this.#cards.get(one.approval_id);
    if (!card) {
      card = new Card(one, () => void this.refresh());
      this.#cards.set(one.approval_id, card);
      this.place.append(card.element);
    }
    card.update(one);
  }
}

/** One question. It is updated in place, so that a reason which is being typed stays. */
class Card {
  readonly element: HTMLElement;
  #left = h("span", { class: "hint" });
  #problem = h("p", { class: "error", role: "alert", hidden: true });

  constructor(
    one: Approval,
    readonly decided: () => void,
  ) {
    const who = one.profile === null ? one.principal : `An agent (${one.client_id ?? one.profile})`;
    const what = WANTS[one.operation] ?? "type into a session";
    const reason = h("input", { placeholder: "A word to whoever asked (optional)", maxlength: 500, "aria-label": "Reason", autocomplete: "off" });
    const button = (text: string, kind: string, allow: boolean) =>
      h("button", { type: "button", class: kind, onclick: () => void this.#decide(one.approval_id, allow, reason.value) }, text);
    this.element = h(
      "article",
      { class: "approval" },
      h("header", {}, h("strong", {}, who), ` wants to ${what}`, h("span", { class: "grow" }), this.#left),
      h("pre", { class: "asked", tabindex: 0 }, one.command ?? ""),
      h(
        "ul",
        { class: "because" },
        ...(one.matches.length ? one.matches.map((match) => h("li", {}, match.reason)) : [h("li", {}, `the rule “${one.rule}” asks`)]),
      ),
      one.justification !== null && h("p", {}, "It says: ", h("q", {}, one.justification)),
      h(
        "p",
        { class: "hint" },
        one.cwd !== null && `in ${one.cwd} `,
        one.session_id !== null && h("a", { href: address(`s/${one.session_id}`).href }, "Look at the session"),
      ),
      this.#problem,
      one.decidable
        ? h("div", { class: "decide" }, reason, button("Deny", "danger", false), button("Allow once", "primary", true))
        : h("p", { class: "hint" }, "Somebody else has to answer this: whoever asked cannot, nor can a login that may only look."),
    );
  }

  update(one: Approval): void {
    setText(this.#left, `${duration(one.expires_at_ms - Date.now())} left`);
  }

  async #decide(id: string, allow: boolean, reason: string): Promise<void> {
    for (const button of this.element.querySelectorAll("button")) button.disabled = true;
    try {
      await call("POST", `v1/approvals/${id}`, { allow, ...(reason.trim() && { reason: reason.trim() }) });
    } catch (error) {
      setText(this.#problem, explain(error));
      this.#problem.hidden = false;
      for (const button of this.element.querySelectorAll("button")) button.disabled = false;
    }
    this.decided();
  }
}
