/** Uploads as they go: one after the other, each with its progress and a way to stop it. */

import { ApiError, explain } from "../common/api";
import { ask } from "../common/dialog";
import { h, setText } from "../common/dom";
import type { Dropped } from "./dropped";
import { size } from "./model";
import { upload } from "./upload";

// A row that is done says so for a moment; one that has failed stays until it is dismissed.
const DONE_MS = 4000;

export class Transfers {
  #queue: (() => Promise<void>)[] = [];
  #running = false;
  #overwriteAll: boolean | null = null;

  /** `stored` is called when something new lies in a folder. */
  constructor(
    readonly place: HTMLElement,
    readonly stored: (folder: string) => void,
  ) {}

  /** Whether leaving the page would cut something off. */
  get busy(): boolean {
    return this.#running;
  }

  add(folder: string, files: Dropped[]): void {
    for (const one of files) this.#queue.push(this.#prepare(folder, one));
    if (!this.#running) void this.#work();
  }

  async #work(): Promise<void> {
    this.#running = true;
    this.#overwriteAll = null;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) await next();
    this.#running = false;
  }

  #prepare(folder: string, { file, path }: Dropped): () => Promise<void> {
    const controller = new AbortController();
    const bar = h("progress", { max: Math.max(1, file.size), value: 0, "aria-label": `Upload of ${path}` });
    const state = h("span", { class: "hint" }, "waits");
    const stop = h("button", { type: "button", class: "quiet", "aria-label": `Stop: ${path}`, onclick: () => controller.abort() }, "✕");
    const row = h("li", {}, h("span", { class: "name", title: `${folder}/${path}` }, path), state, stop, bar);
    this.place.append(row);
    stop.addEventListener("click", () => row.classList.contains("failed") && row.remove());
    const progress = (bytes: number, waiting: boolean) => {
      bar.value = bytes;
      setText(state, waiting ? "connection lost, goes on by itself" : `${size(bytes)} of ${size(file.size)}`);
    };
    return async () => {
      if (controller.signal.aborted) return row.remove();
      progress(0, false);
      const send = (overwrite: boolean) =>
        upload({ folder, name: path, file, overwrite, signal: controller.signal, progress });
      try {
        await this.#send(send, path);
      } catch (error) {
        if (controller.signal.aborted || error instanceof Kept) return row.remove();
        bar.remove();
        row.classList.add("failed");
        setText(state, explain(error));
        stop.setAttribute("aria-label", `Dismiss: ${path}`);
        return;
      }
      bar.value = bar.max;
      stop.remove();
      setText(state, `✓ ${size(file.size)}`);
      setTimeout(() => row.remove(), DONE_MS);
      this.stored(folder);
    };
  }

  /** Ask before anything is replaced; with more to come the answer can be for all of them. */
  async #send(send: (overwrite: boolean) => Promise<void>, path: string): Promise<void> {
    try {
      return await send(this.#overwriteAll === true);
    } catch (error) {
      if (!(error instanceof ApiError && error.code === "file_exists")) throw error;
    }
    if (this.#overwriteAll === false) throw new Kept();
    const more = this.#queue.length;
    const all = h("input", { type: "checkbox", id: "replace-all" });
    const replace = await ask({
      title: `Replace “${path}”?`,
      body: h(
        "div",
        {},
        h("p", {}, "There is a file of this name already."),
        more > 0 && h("label", { class: "check", for: "replace-all" }, all, ` The same for the other ${more}`),
      ),
      confirm: "Replace it",
      danger: true,
    });
    if (all.checked) this.#overwriteAll = replace;
    if (!replace) throw new Kept();
    return send(true);
  }
}

/** The file that was there stays. */
class Kept extends Error {}
