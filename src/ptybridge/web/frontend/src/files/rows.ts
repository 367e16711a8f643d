/** The list of a folder: rows that the keyboard walks through. */

import { h } from "../common/dom";
import { type Entry, size, when } from "./model";

export interface RowActions {
  open: (entry: Entry) => void;
  download: (entry: Entry) => void;
  rename: (entry: Entry) => void;
  remove: (entry: Entry) => void;
  up: () => void;
  /** Whether files may be changed here. */
  writable: boolean;
}

const WHAT: Record<Entry["type"], string> = {
  file: "File",
  directory: "Folder",
  symlink: "Link",
  fifo: "FIFO",
  socket: "Socket",
  device: "Device",
  unknown: "Something",
};

export class Rows {
  #entries: Entry[] = [];

  constructor(
    readonly place: HTMLElement,
    readonly actions: RowActions,
  ) {
    place.addEventListener("keydown", (event) => this.#key(event));
    // However the focus comes to a row, it is the one that keeps it when the rows are shown anew.
    place.addEventListener("focusin", ({ target }) => {
      const name = (target as HTMLElement).closest("li")?.querySelector(".entry");
      if (name) this.#choose(name);
    });
  }

  /** Show these entries; the one of this name, or else the first, can be reached by Tab. */
  show(entries: Entry[], chosen: string | null): void {
    // Folders first, as people look for them.
    this.#entries = [
      ...entries.filter(({ type }) => type === "directory"),
      ...entries.filter(({ type }) => type !== "directory"),
    ];
    const now = new Date();
    const at = Math.max(0, this.#entries.findIndex(({ name }) => name === chosen));
    this.place.replaceChildren(...this.#entries.map((entry, index) => this.#row(entry, index === at, now)));
  }

  /** The name of the entry that Tab reaches. */
  get chosen(): string | null {
    return this.place.querySelector(".entry[tabindex='0'] .name")?.textContent ?? null;
  }

  /** Put the focus on the row that Tab reaches; false when there is none. */
  focus(): boolean {
    const name = this.place.querySelector<HTMLElement>(".entry[tabindex='0']");
    name?.focus();
    return name !== null;
  }

  #row(entry: Entry, reachable: boolean, now: Date): HTMLLIElement {
    const { actions } = this;
    const about = `${WHAT[entry.type]}${entry.target === null ? "" : ` to ${entry.target}`} · ${entry.permissions}`;
    const name = h(
      "button",
      { type: "button", class: "entry quiet", tabindex: reachable ? 0 : -1, title: about, onclick: () => actions.open(entry) },
      h("span", { class: `icon ${entry.type}`, "aria-hidden": "true" }),
      h("span", { class: "name" }, entry.name),
      h("span", { class: "size" }, entry.type === "file" ? size(entry.size) : ""),
      h("span", { class: "when" }, when(entry.modified_ms, now)),
    );
    const act = (text: string, label: string, run: () => void) =>
      h("button", { type: "button", class: "quiet", tabindex: -1, title: label, "aria-label": `${label}: ${entry.name}`, onclick: run }, text);
    return h(
      "li",
      {},
      name,
      h(
        "span",
        { class: "acts" },
        entry.type === "file" && act("↓", "Download", () => actions.download(entry)),
        actions.writable && act("✎", "Rename", () => actions.rename(entry)),
        actions.writable && act("✕", "Delete", () => actions.remove(entry)),
      ),
    );
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = (event.target as HTMLElement).closest("li");
    const at = row ? [...this.place.children].indexOf(row) : -1;
    const entry = this.#entries[at];
    const last = this.#entries.length - 1;
    if (!entry) return;
    const keys: Record<string, () => void> = {
      ArrowDown: () => this.#reach(Math.min(at + 1, last)),
      ArrowUp: () => this.#reach(Math.max(at - 1, 0)),
      Home: () => this.#reach(0),
      End: () => this.#reach(last),
      Backspace: () => this.actions.up(),
      ArrowLeft: () => this.actions.up(),
      ...(entry.type === "directory" && { ArrowRight: () => this.actions.open(entry) }),
      ...(entry.type === "file" && { d: () => this.actions.download(entry) }),
      ...(this.actions.writable && {
        F2: () => this.actions.rename(entry),
        Delete: () => this.actions.remove(entry),
      }),
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #reach(index: number): void {
    this.place.children[index]?.querySelector<HTMLElement>(".entry")?.focus();
  }

  #choose(name: Element): void {
    this.place.querySelector(".entry[tabindex='0']")?.setAttribute("tabindex", "-1");
    name.setAttribute("tabindex", "0");
  }
}
