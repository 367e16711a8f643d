/**
 * Carries output into the terminal in order, and tells how far it has got.
 *
 * xterm.js parses in slices, later; a change of size or a reset must happen just between the bytes before and the
 * bytes after it. So what is to be done waits in a queue: bytes go ahead while not too many are unparsed, and
 * anything else waits until all bytes before it are.
 */

import type { Terminal } from "@xterm/xterm";

// As much as xterm parses within a few frames; more in its own buffer would only be memory.
const UNPARSED_BYTES = 512 * 1024;

type Item = { data: Uint8Array; end: number } | { act: () => void };

export class Feed {
  /** How many bytes wait here. */
  waiting = 0;
  #items: Item[] = [];
  #unparsed = 0;

  /** `shown` is called with the offset up to which everything is parsed. */
  constructor(
    readonly terminal: Terminal,
    readonly shown: (offset: number) => void,
  ) {}

  /** Bytes of the transcript that end at the offset `end`, or a picture as of it. */
  write(data: Uint8Array, end: number): void {
    this.waiting += data.length;
    this.#items.push({ data, end });
    this.#pump();
  }

  /** Do something just after what has been written so far. */
  then(act: () => void): void {
    this.#items.push({ act });
    this.#pump();
  }

  /** Forget what waits: a snapshot makes it pointless. */
  drop(): void {
    this.#items = this.#items.filter((item) => "act" in item);
    this.waiting = 0;
  }

  #pump(): void {
    for (let item = this.#items[0]; item; item = this.#items[0]) {
      if ("act" in item) {
        if (this.#unparsed) return;
        this.#items.shift();
        item.act();
        continue;
      }
      if (this.#unparsed >= UNPARSED_BYTES) return;
      this.#items.shift();
      this.#parse(item.data, item.end);
    }
  }

  #parse(data: Uint8Array, end: number): void {
    this.waiting -= data.length;
    // An empty write calls back too; it must count, or an act behind it would overtake it.
    this.#unparsed += data.length + 1;
    this.terminal.write(data, () => {
      this.#unparsed -= data.length + 1;
      this.shown(end);
      this.#pump();
    });
  }
}
