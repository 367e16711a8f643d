/**
 * Tells the daemon how far everything is shown. It sends only so much beyond that (the window), so a page that draws
 * slowly, or that the browser has put to sleep in the background, holds no more than that.
 */

import { ack } from "./frames";

export const WINDOW_BYTES = 1 << 20;
// Often enough that the window never runs dry, seldom enough to cost nothing.
const EVERY_BYTES = 64 * 1024;
const EVERY_MS = 40;

export class Acks {
  #shown = 0;
  #told = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly send: (frame: Uint8Array) => void) {}

  /** Everything before `offset` is on the screen. */
  shown(offset: number): void {
    this.#shown = offset;
    // Less than before: after a crash the daemon may know less than it had told.
    if (Math.abs(offset - this.#told) >= EVERY_BYTES) this.now();
    else this.#timer ??= setTimeout(() => this.now(), EVERY_MS);
  }

  now(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#told = this.#shown;
    this.send(ack(this.#shown));
  }
}
