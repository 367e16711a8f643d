/** One session in the list. Rows are updated in place, so that focus and selection stay. */

import { address } from "../common/base";
import { h, setText } from "../common/dom";
import { type Session, commandLine, label } from "../common/model";
import { allow } from "../common/rights";
import { duration } from "../common/time";
import { stateOf, stateText } from "./state";
import { isWatched } from "./watching";

export interface RowActions {
  /** Why an operation on a session may not be called; null when it may. */
  refusal: (operation: string, session: Session) => string | null;
  rename: (session: Session) => void;
  watch: (session: Session) => void;
  end: (session: Session) => void;
  tag: (tag: string) => void;
}

export class Row {
  readonly element: HTMLLIElement;
  #session: Session;
  #link = h("a", { class: "name" });
  #title = h("span", { class: "title" });
  #state = h("span", { class: "state" });
  #command = h("code", { class: "command" });
  #facts = h("span", { class: "facts" });
  #tags = h("span", { class: "tags" });
  #watch: HTMLButtonElement;
  #rename: HTMLButtonElement;
  #end: HTMLButtonElement;
  #tagsShown = "";

  constructor(
    session: Session,
    readonly actions: RowActions,
  ) {
    this.#session = session;
    const button = (text: string, what: string, act: () => void, kind = "quiet") =>
      h("button", { type: "button", class: kind, title: what, onclick: act }, text);
    this.#watch = button("Watch", "Tell me when it waits for input or ends (w)", () => actions.watch(this.#session));
    this.#rename = button("Rename", "", () => actions.rename(this.#session));
    this.#end = button("End", "", () => actions.end(this.#session));
    this.#link.href = address(`s/${session.session_id}${session.backend === "pipes" ? "?view=line" : ""}`).href;
    this.element = h(
      "li",
      { "data-id": session.session_id },
      h("span", { class: "dot", "aria-hidden": "true" }),
      h(
        "div",
        { class: "what" },
        h("div", { class: "line" }, this.#link, this.#title, this.#tags),
        h("div", { class: "line" }, this.#command),
      ),
      h(
        "div",
        { class: "row-actions" },
        this.#watch,
        this.#rename,
        this.#end,
      ),
      h("div", { class: "how" }, this.#state, this.#facts),
    );
    // The whole row leads there; what is a control in it keeps its own click.
    this.element.addEventListener("click", ({ target }) => {
      if (target instanceof Element && !target.closest("a, button")) this.#link.click();
    });
    this.update(session, Date.now());
  }

  focus(): void {
    this.#link.focus();
  }

  update(session: Session, now: number): void {
    this.#session = session;
    const name = label(session);
    this.element.dataset["state"] = stateOf(session, now);
    setText(this.#link, name);
    const title = session.title && session.title !== name ? session.title : "";
    setText(this.#title, title);
    setText(this.#state, stateText(session, now));
    const running = session.running_command ? `$ ${session.running_command}` : commandLine(session);
    setText(this.#command, `${running} `);
    setText(this.#facts, facts(session, now));
    this.#facts.title = `${session.cols}×${session.rows}, ${session.current_cwd ?? session.cwd}`;
    const watched = isWatched(session.session_id);
    this.#watch.setAttribute("aria-pressed", String(watched));
    this.#watch.hidden = session.state !== "running";
    allow(this.#rename, this.actions.refusal("session.update", session), "Name and tags (r)");
    allow(this.#end, this.actions.refusal("session.close", session), "End the session (x)");
    setText(this.#watch, watched ? "Watching" : "Watch");
    this.#showTags(session.tags);
  }

  #showTags(tags: string[]): void {
    const key = tags.join("\n");
    if (key === this.#tagsShown) return;
    this.#tagsShown = key;
    this.#tags.replaceChildren(
      ...tags.map((tag) => h("button", { type: "button", class: "tag", onclick: () => this.actions.tag(tag) }, tag)),
    );
  }
}

function facts(session: Session, now: number): string {
  const end = session.exited_at_ms ?? now;
  const parts = [session.exited_at_ms ? `${duration(now - end)} ago` : `up ${duration(now - session.created_at_ms)}`];
  const count = session.clients.length;
  if (count) parts.push(count === 1 ? "1 viewer" : `${count} viewers`);
  if (session.lease?.client_id) parts.push(`pen: ${session.lease.client_id}`);
  return parts.join(" · ");
}
