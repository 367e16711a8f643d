/**
 * Scrolling with a finger, of which xterm.js 6.0 knows nothing, and with the wheel in full-screen programs, which it
 * gives one line a notch.
 *
 * What scrolls is what would scroll in any terminal: the lines above in the primary screen; a program that watches the
 * mouse hears the wheel; another in the alternate screen (less, vim) gets arrow keys.
 */

import type { Terminal } from "@xterm/xterm";

// What a notch of the wheel moves everywhere else: 120 pixels are three lines of 16.
const WHEEL_SHARE = 0.4;
// A finger that moves less than this rests.
const SLOP_PIXELS = 8;
// One that has not moved for so long before it is lifted throws nothing.
const HELD_MS = 60;
// Text that was thrown goes on, and comes to rest within about a second.
const SLOWING = 0.996;
const REST_PIXELS_PER_MS = 0.05;

export class Scrolling {
  #pixels = 0;
  #throw = 0;

  /** `writable`: whether what is typed here goes to the program. */
  constructor(
    readonly terminal: Terminal,
    readonly place: HTMLElement,
    readonly writable: () => boolean,
  ) {
    terminal.attachCustomWheelEventHandler((event) => this.#wheel(event));
    this.#listen();
  }

  get #rowPixels(): number {
    const height = this.place.querySelector(".xterm-screen")?.clientHeight ?? 0;
    return height / this.terminal.rows || 1;
  }

  get #toProgram(): "mouse" | "keys" | null {
    if (this.terminal.modes.mouseTrackingMode !== "none") return "mouse";
    return this.terminal.buffer.active.type === "alternate" ? "keys" : null;
  }

  /** Scroll so many pixels down; what is less than a line counts for the next time. */
  #scroll(pixels: number, x: number, y: number): void {
    this.#pixels += pixels;
    const lines = Math.trunc(this.#pixels / this.#rowPixels);
    this.#pixels -= lines * this.#rowPixels;
    if (!lines) return;
    const kind = this.#toProgram;
    if (kind === null) this.terminal.scrollLines(lines);
    else if (!this.writable()) return;
    else if (kind === "keys") this.#keys(lines);
    else this.#reports(lines, x, y);
  }

  #keys(lines: number): void {
    const start = this.terminal.modes.applicationCursorKeysMode ? "\x1bO" : "\x1b[";
    this.terminal.input(`${start}${lines < 0 ? "A" : "B"}`.repeat(Math.abs(lines)));
  }

  #reports(lines: number, clientX: number, clientY: number): void {
    const screen = this.place.querySelector(".xterm-screen");
    const deltaMode = WheelEvent.DOM_DELTA_LINE;
    const about = { deltaY: Math.sign(lines), deltaMode, clientX, clientY, bubbles: true, cancelable: true };
    for (let left = Math.abs(lines); left > 0; left--) screen?.dispatchEvent(new WheelEvent("wheel", about));
  }

  /** False: it is done, and xterm has nothing more to do. */
  #wheel(event: WheelEvent): boolean {
    if (this.#toProgram !== "keys" || event.shiftKey || !event.deltaY) return true;
    // The browser makes the page larger or smaller; two fingers that do so on a touchpad come like this, too.
    if (event.ctrlKey) return false;
    event.preventDefault();
    const unit = [WHEEL_SHARE, this.#rowPixels, this.#rowPixels * this.terminal.rows][event.deltaMode] ?? 1;
    this.#scroll(event.deltaY * unit, event.clientX, event.clientY);
    return false;
  }

  #listen(): void {
    let last: { y: number; at: number; speed: number } | null = null;
    let moving = false;
    this.place.addEventListener("touchstart", ({ touches, timeStamp }) => {
      cancelAnimationFrame(this.#throw);
      this.#pixels = 0;
      moving = false;
      const [touch] = touches;
      last = touch && touches.length === 1 ? { y: touch.clientY, at: timeStamp, speed: 0 } : null;
    });
    this.place.addEventListener(
      "touchmove",
      (event) => {
        const [touch] = event.touches;
        if (!last || !touch) return;
        const pixels = last.y - touch.clientY;
        moving ||= Math.abs(pixels) >= SLOP_PIXELS;
        if (!moving) return;
        // No click follows, and with it no keyboard.
        event.preventDefault();
        // When the finger moved, not when a busy page heard of it.
        const at = event.timeStamp;
        last = { y: touch.clientY, at, speed: pixels / Math.max(1, at - last.at) };
        this.#scroll(pixels, touch.clientX, touch.clientY);
      },
      { passive: false },
    );
    this.place.addEventListener("touchend", ({ timeStamp }) => {
      if (moving && last && timeStamp - last.at < HELD_MS) this.#glide(last.speed, performance.now());
      last = null;
    });
  }

  #glide(speed: number, before: number): void {
    if (Math.abs(speed) < REST_PIXELS_PER_MS || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.#throw = requestAnimationFrame(() => {
      // A program is not sent more than the finger has moved, and one that has just begun is sent nothing.
      if (this.#toProgram !== null) return;
      const now = performance.now();
      this.#scroll(speed * (now - before), 0, 0);
      this.#glide(speed * SLOWING ** (now - before), now);
    });
  }
}
