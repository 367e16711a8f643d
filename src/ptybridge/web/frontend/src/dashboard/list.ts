/** The list: filtered, sorted, one row selected. */

import { byId, h } from "../common/dom";
import { type Session, commandLine, label } from "../common/model";
import { recall, remember } from "../common/storage";
import { Row, type RowActions } from "./row";
import { type State, stateOf } from "./state";

const FILTERS = ["all", "running", "waiting", "ended"] as const;
type Filter = (typeof FILTERS)[number];

// What needs somebody first, then what lives, then what is over.
const ORDER: Record<State, number> = { waiting: 0, running: 1, idle: 1, failed: 2, ended: 2 };

export class List {
  #rows = new Map<string, Row>();
  #place = byId("sessions");
  #field = byId<HTMLInputElement>("filter");
  #filter: Filter = FILTERS.find((filter) => filter === recall("filter")) ?? "all";
  #tag: string | null = null;
  #all: Session[] = [];
  #shown: Session[] = [];
  #known = false;
  mayCreate = true;

  constructor(readonly actions: Omit<RowActions, "tag">) {
    this.#field.addEventListener("input", () => this.show());
    byId("states").append(
      ...FILTERS.map((filter) =>
        h("button", { type: "button", "data-filter": filter, onclick: () => this.#choose(filter) }, filter),
      ),
    );
    // Uptimes and idleness change without any event.
    setInterval(() => this.show(), 5000);
  }

  /** The row that has the focus, or else the first. */
  get selected(): Session | undefined {
    const id = document.activeElement?.closest("[data-id]")?.getAttribute("data-id");
    return this.#shown.find(({ session_id }) => session_id === id) ?? this.#shown[0];
  }

  search(): void {
    this.#field.focus();
    this.#field.select();
  }

  /** Move the focus up or down. */
  move(by: number): void {
    const id = document.activeElement?.closest("[data-id]")?.getAttribute("data-id");
    const at = this.#shown.findIndex(({ session_id }) => session_id === id);
    const next = at < 0 ? (by > 0 ? 0 : this.#shown.length - 1) : at + by;
    const session = this.#shown[Math.min(Math.max(next, 0), this.#shown.length - 1)];
    if (session) this.#rows.get(session.session_id)?.focus();
  }

  update(sessions: Session[]): void {
    this.#all = sessions;
    this.#known = true;
    this.show();
  }

  show(): void {
    if (!this.#known) return;
    const now = Date.now();
    const words = this.#field.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.#shown = this.#all
      .filter((session) => this.#fits(session, now) && words.every((word) => text(session).includes(word)))
      .sort((a, b) => ORDER[stateOf(a, now)] - ORDER[stateOf(b, now)] || b.last_active_at_ms - a.last_active_at_ms);
    this.#reconcile(now);
    this.#showFilters(now);
    this.#showEmpty();
  }

  #reconcile(now: number): void {
    const wanted = new Set(this.#shown.map(({ session_id }) => session_id));
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    const rows = this.#shown.map((session) => this.#row(session, now));
    // Moving an element takes the focus away, so only what stands wrong is moved, and not while it has the focus.
    let before: Element | null = this.#place.firstElementChild;
    const focused = document.activeElement?.closest("[data-id]") ?? null;
    const settled = rows.every((row, index) => this.#place.children[index] === row.element);
    if (settled || (focused && rows.length === this.#place.childElementCount)) return;
    for (const { element } of rows) {
      if (element === before) before = before.nextElementSibling;
      else this.#place.insertBefore(element, before);
    }
  }

  #row(session: Session, now: number): Row {
    let row = this.#rows.get(session.session_id);
    if (row) row.update(session, now);
    else {
      row = new Row(session, { ...this.actions, tag: (tag) => this.#chooseTag(tag) });
      this.#rows.set(session.session_id, row);
    }
    return row;
  }

  #fits(session: Session, now: number): boolean {
    if (this.#tag !== null && !session.tags.includes(this.#tag)) return false;
    if (this.#filter === "running") return session.state === "running";
    if (this.#filter === "waiting") return stateOf(session, now) === "waiting";
    return this.#filter === "all" || session.state !== "running";
  }

  #choose(filter: Filter): void {
    this.#filter = filter;
    remember("filter", filter === "all" ? null : filter);
    this.show();
  }

  #chooseTag(tag: string | null): void {
    this.#tag = this.#tag === tag ? null : tag;
    this.show();
  }

  #showFilters(now: number): void {
    const running = this.#all.filter(({ state }) => state === "running").length;
    const waiting = this.#all.filter((session) => stateOf(session, now) === "waiting").length;
    const counts: Record<Filter, number> = {
      ...{ all: this.#all.length, running, waiting },
      ended: this.#all.length - running,
    };
    for (const button of byId("states").querySelectorAll("button")) {
      const filter = button.dataset["filter"] as Filter;
      button.textContent = `${filter} ${counts[filter]}`;
      button.setAttribute("aria-pressed", String(filter === this.#filter));
    }
    const tags = [...new Set(this.#all.flatMap((session) => session.tags))].sort();
    if (this.#tag !== null && !tags.includes(this.#tag)) this.#tag = null;
    const place = byId("tags");
    const key = `${tags.join(" ")}|${this.#tag}`;
    if (place.dataset["key"] === key) return;
    place.dataset["key"] = key;
    place.replaceChildren(
      ...tags.map((tag) =>
        h(
          "button",
          { type: "button", class: "tag", "aria-pressed": String(tag === this.#tag), onclick: () => this.#chooseTag(tag) },
          tag,
        ),
      ),
    );
  }

  #showEmpty(): void {
    const empty = byId("empty");
    empty.hidden = this.#shown.length > 0;
    if (this.#shown.length) return;
    const none = this.#all.length === 0;
    empty.replaceChildren(
      h("h2", {}, none ? "No sessions yet" : "Nothing fits"),
      h(
        "p",
        { class: "hint" },
        ...(none
          ? this.mayCreate
            ? ["Start one with New session", h("span", { class: "by-key" }, " ", h("kbd", {}, "n")), ", or run ", h("code", {}, "ptybridge new"), " in a shell."]
            : ["What is started here shows by itself."]
          : ["No session has all of this in its name, command, directory or tags."]),
      ),
    );
  }
}

function text(session: Session): string {
  const { title, cwd, current_cwd, tags, session_id } = session;
  return [label(session), commandLine(session), title, cwd, current_cwd ?? "", ...tags, session_id].join(" ").toLowerCase();
}
