/** The drawer beside a terminal: a folder, what lies in it, and files going up and down. */

import "./files.css";

import { ApiError, call, explain } from "../common/api";
import { address } from "../common/base";
import { ask } from "../common/dialog";
import { byId, h, setText } from "../common/dom";
import { type Rights, allow } from "../common/rights";
import { recall, remember } from "../common/storage";
import { toast } from "../common/toast";
import { droppedFiles } from "./dropped";
import { type Entry, type FilePage, type Sort, above, join, list } from "./model";
import { Press } from "./press";
import { preview } from "./preview";
import { Rows } from "./rows";
import { Transfers } from "./transfers";

const SORTS: [Sort, string][] = [["name", "by name"], ["modified", "newest first"], ["size", "largest first"]];
// Programs make and remove files while one looks. A folder that takes long to list is looked at less often.
const LOOK_AGAIN_MS = 3000;
const LOOK_SHARE = 20;
const READ_ONLY = "Your login may look at files, not change them.";

interface Shown {
  chosen?: string | null;
  focus?: boolean;
}

export class Drawer {
  #folder: string | null = null;
  #entries: Entry[] = [];
  #cursor: string | null = null;
  /** The first page as it was told, when it is all that is shown. */
  #first = "";
  /** Counts listings, so that a slow answer does not replace a newer one. */
  #asked = 0;
  #sort: Sort = SORTS.map(([sort]) => sort).find((sort) => sort === recall("files-sort")) ?? "name";
  #hidden = recall("files-hidden") !== null;
  #rows: Rows;
  #transfers: Transfers;
  #place = byId("files");
  #press = new Press(this.#place);
  #said = h("div", { class: "said", role: "status" });
  #path = h("nav", { class: "path", "aria-label": "Folder" });
  #more = h("button", { type: "button", class: "more", hidden: true, onclick: () => void this.#list(this.#cursor) }, "Show more");

  /** `here` tells the folder the session is in; `closed` gets the focus back. */
  constructor(
    readonly may: Rights,
    readonly here: () => string,
    readonly closed: () => void,
  ) {
    const writable = may.may("file.upload");
    const entries = h("ul", { class: "entries", "aria-label": "Files" });
    this.#rows = new Rows(entries, {
      open: (entry) => void this.#open(entry),
      download: (entry) => void this.#download(entry),
      rename: (entry) => void this.#rename(entry),
      remove: (entry) => void this.#remove(entry),
      up: () => this.#folder !== null && this.#folder !== "/" && void this.go(above(this.#folder), this.#folder),
      writable: may.may("file.move") && may.may("file.delete"),
    });
    const transfers = h("ul", { class: "transfers", "aria-label": "Uploads" });
    this.#transfers = new Transfers(transfers, (folder) => folder === this.#folder && void this.#list(null));
    this.#build(writable, entries, transfers);
    if (writable) this.#takeDrops();
    addEventListener("beforeunload", (event) => this.#transfers.busy && event.preventDefault());
    this.#lookLater(0);
  }

  get isOpen(): boolean {
    return !this.#place.hidden;
  }

  toggle(): void {
    if (this.isOpen) this.close();
    else void this.open();
  }

  async open(): Promise<void> {
    this.#place.hidden = false;
    byId("files-button").setAttribute("aria-expanded", "true");
    await this.go(this.#folder ?? this.here());
  }

  close(): void {
    this.#place.hidden = true;
    byId("files-button").setAttribute("aria-expanded", "false");
    this.closed();
  }

  /** Show a folder; the focus goes to the entry that leads back to where we come from. */
  async go(folder: string, from: string | null = null): Promise<void> {
    this.#folder = folder;
    await this.#list(null, { chosen: from?.split("/").at(-1) ?? null, focus: true });
  }

  /** List, or with `cursor` list on. `focus`: it goes into the list, where else it stays what it was. */
  async #list(cursor: string | null, { chosen = null, focus = false }: Shown = {}): Promise<void> {
    const folder = this.#folder ?? "";
    const number = ++this.#asked;
    let page: FilePage;
    try {
      page = await list(folder, { sort: this.#sort, hidden: this.#hidden }, cursor);
    } catch (error) {
      if (number === this.#asked) this.#refused(folder, error, focus);
      return;
    }
    await this.#press.over();
    if (number === this.#asked && this.isOpen) this.#show(page, cursor, chosen, focus);
  }

  #show(page: FilePage, cursor: string | null, chosen: string | null, focus: boolean): void {
    this.#first = cursor === null ? JSON.stringify(page) : "";
    this.#folder = page.path;
    this.#entries = cursor === null ? page.entries : [...this.#entries, ...page.entries];
    this.#cursor = page.next_cursor;
    this.#showPath(page.path);
    const within = this.#rows.place.contains(document.activeElement);
    this.#rows.show(this.#entries, chosen);
    this.#more.hidden = this.#cursor === null;
    setText(this.#more, `Show more (${this.#entries.length} of ${page.total})`);
    this.#said.replaceChildren(
      ...(this.#entries.length ? [] : [h("p", { class: "hint" }, this.#hidden ? "This folder is empty." : "Nothing here that is not hidden.")]),
    );
    // The list may be another by now, but whoever types elsewhere is left alone.
    if ((within || focus) && !this.#rows.focus()) this.#path.querySelector("button")?.focus();
  }

  #lookLater(took: number): void {
    setTimeout(() => void this.#lookAgain(), Math.max(LOOK_AGAIN_MS, LOOK_SHARE * took));
  }

  /** Show what has changed meanwhile, if anything; who has listed on further is left alone. */
  async #lookAgain(): Promise<void> {
    const before = performance.now();
    const number = this.#asked;
    if (this.isOpen && !document.hidden && this.#folder !== null && this.#first !== "") {
      try {
        const page = await list(this.#folder, { sort: this.#sort, hidden: this.#hidden }, null);
        const current = number === this.#asked && this.isOpen && !this.#press.down;
        if (current && JSON.stringify(page) !== this.#first) this.#show(page, null, this.#rows.chosen, false);
      } catch {
        // No connection, or the folder is gone: who looks at it by hand is told.
      }
    }
    this.#lookLater(performance.now() - before);
  }

  /** Say why, and where one may go instead. */
  #refused(folder: string, error: unknown, focus: boolean): void {
    this.#entries = [];
    this.#first = "";
    this.#more.hidden = true;
    this.#rows.show([], null);
    this.#showPath(folder);
    const roots = this.may.identity.file_roots ?? ["/"];
    const outside = error instanceof ApiError && error.status === 403;
    this.#said.replaceChildren(
      h("p", {}, error instanceof Error ? error.message : explain(error)),
      h("p", { class: "hint" }, outside ? "These folders are open to you:" : "From here you can go on:"),
      h(
        "p",
        { class: "roots" },
        ...roots.map((root) => h("button", { type: "button", onclick: () => void this.go(root) }, root)),
      ),
    );
    if (focus) this.#said.querySelector("button")?.focus();
  }

  #build(writable: boolean, entries: HTMLElement, transfers: HTMLElement): void {
    const picker = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files to upload" });
    picker.addEventListener("change", () => {
      this.#add([...(picker.files ?? [])].map((file) => ({ file, path: file.name })));
      picker.value = "";
    });
    const upload = h("button", { type: "button", onclick: () => picker.click() }, "Upload");
    const make = h("button", { type: "button", onclick: () => void this.#make() }, "New folder");
    allow(upload, writable ? null : READ_ONLY, "Or drop files here");
    allow(make, this.may.may("file.mkdir") ? null : READ_ONLY);
    const sort = h("select", { "aria-label": "Order" }, ...SORTS.map(([value, text]) => h("option", { value }, text)));
    sort.value = this.#sort;
    sort.addEventListener("change", () => {
      this.#sort = sort.value as Sort;
      remember("files-sort", this.#sort === "name" ? null : this.#sort);
      void this.#list(null);
    });
    const hidden = h("input", { type: "checkbox", id: "files-hidden" });
    hidden.checked = this.#hidden;
    hidden.addEventListener("change", () => {
      this.#hidden = hidden.checked;
      remember("files-hidden", this.#hidden ? "on" : null);
      void this.#list(null);
    });
    const quiet = (text: string, label: string, act: () => void) =>
      h("button", { type: "button", class: "quiet", title: label, "aria-label": label, onclick: act }, text);
    this.#place.append(
      h(
        "header",
        {},
        h("h2", {}, "Files"),
        h("span", { class: "grow" }),
        quiet("⌂", "The session’s folder", () => void this.go(this.here())),
        quiet("↻", "Look again", () => void this.#list(null)),
        quiet("✕", "Close (Escape)", () => this.close()),
      ),
      this.#path,
      h("div", { class: "bar" }, sort, h("label", { class: "check" }, hidden, " Hidden")),
      h("div", { class: "scroll" }, entries, this.#more, this.#said),
      transfers,
      h("footer", {}, upload, make, picker),
    );
    this.#place.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      this.close();
    });
  }

  #showPath(path: string): void {
    const parts = path.split("/").filter(Boolean);
    const step = (text: string, to: string, last: boolean) =>
      h("button", { type: "button", class: "quiet", "aria-current": last ? "page" : null, onclick: () => void this.go(to) }, text);
    const steps = parts.map((part, index) =>
      step(part, `/${parts.slice(0, index + 1).join("/")}`, index === parts.length - 1),
    );
    this.#path.replaceChildren(step("/", "/", !parts.length), ...steps.flatMap((one, index) => (index ? ["/", one] : [one])));
    this.#path.title = path;
    this.#path.scrollLeft = this.#path.scrollWidth;
  }

  // -- what can be done -------------------------------------------------------------------------------------

  async #open(entry: Entry): Promise<void> {
    try {
      if (entry.type === "directory") return await this.go(entry.path);
      if (entry.type === "symlink") return await this.#follow(entry);
      if (entry.type !== "file") return toast("Only files and folders can be opened.");
      await preview(entry, () => void this.#download(entry));
    } catch (error) {
      toast(explain(error), "bad");
    }
  }

  async #follow(entry: Entry): Promise<void> {
    const found = await call<Entry>("GET", "v1/files/info", { path: entry.path, follow: true });
    if (found.type === "symlink") toast(`It leads to ${entry.target ?? "nowhere"}, where there is nothing.`);
    else await this.#open(found.type === "directory" ? { ...found, path: entry.path } : found);
  }

  async #download(entry: Entry): Promise<void> {
    try {
      // What would fail is said here; a browser only says that it has failed.
      await call("GET", "v1/files/read", { path: entry.path, max_bytes: 1 });
    } catch (error) {
      return toast(explain(error), "bad");
    }
    const url = address("v1/files/content");
    url.searchParams.set("path", entry.path);
    const link = h("a", { href: url.href, download: entry.name });
    document.body.append(link);
    link.click();
    link.remove();
  }

  async #make(): Promise<void> {
    const name = h("input", { id: "folder-name", required: true, autocomplete: "off", "aria-label": "Name" });
    const made = await ask({
      title: "New folder",
      body: name,
      confirm: "Make it",
      act: () => call("POST", "v1/files/mkdir", { path: join(this.#folder ?? "", name.value.trim()) }),
    });
    if (made) await this.#list(null, { chosen: name.value.trim(), focus: true });
  }

  async #rename(entry: Entry): Promise<void> {
    const name = h("input", { id: "file-name", required: true, autocomplete: "off", value: entry.name, "aria-label": "Name" });
    const moved = await ask({
      title: `Rename “${entry.name}”`,
      body: name,
      confirm: "Rename",
      act: () =>
        call("POST", "v1/files/move", { source: entry.path, destination: join(above(entry.path), name.value.trim()) }),
    });
    await this.#list(null, { chosen: moved ? name.value.trim() : entry.name, focus: true });
  }

  async #remove(entry: Entry): Promise<void> {
    const folder = entry.type === "directory";
    const gone = await ask({
      title: `Delete “${entry.name}”?`,
      body: folder ? "The folder and everything in it is deleted for good." : "It is deleted for good.",
      confirm: "Delete it",
      danger: true,
      act: () => call("POST", "v1/files/delete", { path: entry.path, recursive: folder }),
    });
    await this.#list(null, { chosen: gone ? null : entry.name, focus: true });
  }

  // -- going up ---------------------------------------------------------------------------------------------

  #add(files: { file: File; path: string }[]): void {
    if (this.#folder !== null && files.length) this.#transfers.add(this.#folder, files);
  }

  /** Files may be dropped anywhere on the page; what is no file is left alone. */
  #takeDrops(): void {
    const carries = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const over = (event: DragEvent) => {
      if (!carries(event)) return;
      event.preventDefault();
      event.stopPropagation();
      if (!this.isOpen) void this.open();
      this.#place.dataset["drop"] = `Upload to ${this.#folder ?? this.here()}`;
    };
    const out = () => delete this.#place.dataset["drop"];
    addEventListener("dragover", over, { capture: true });
    addEventListener("dragleave", (event) => event.relatedTarget === null && out());
    addEventListener(
      "drop",
      (event) => {
        if (!carries(event) || !event.dataTransfer) return;
        event.preventDefault();
        event.stopPropagation();
        out();
        void droppedFiles(event.dataTransfer).then(
          (files) => this.#add(files),
          (error: unknown) => toast(explain(error), "bad"),
        );
      },
      { capture: true },
    );
  }
}
