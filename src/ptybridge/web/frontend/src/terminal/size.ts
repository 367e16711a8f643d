/**
 * Which size the terminal has here, and which the session is told.
 *
 * A writer's terminal fills the window, and the session is told so: what becomes of it is up to the session's size
 * policy. A viewer, and everybody in a session of fixed size, sees the whole of it, with letters as large as fit, and
 * asks for nothing.
 */

import type { View } from "./view";
import { chosenFontSize, keepPlace } from "./view";

export interface Size {
  rows: number;
  cols: number;
}

const SMALLEST: Size = { rows: 2, cols: 10 };
const SMALLEST_FONT_SIZE = 3;

export class Sizing {
  /** The session's size at the place of the output that has been shown. */
  session: Size;
  /**
   * The size that output comes for: the session's, until the daemon tells another at its place. On a terminal of any
   * other size a line could be written over the one before it. Null: it comes as pictures of the size we asked for.
   */
  output: Size | null = null;
  /** Whether the whole session is shown, instead of filling the window. */
  whole: boolean;
  #letters: number | undefined;

  constructor(
    readonly view: View,
    readonly place: HTMLElement,
    session: Size,
    whole: boolean,
  ) {
    this.session = session;
    this.whole = whole;
  }

  /** The size that this window asks for. */
  wanted(): Size {
    if (this.whole) return this.session;
    const fitting = this.view.fit.proposeDimensions();
    if (!fitting || !Number.isFinite(fitting.rows) || !Number.isFinite(fitting.cols)) return this.session;
    return { rows: Math.max(SMALLEST.rows, fitting.rows), cols: Math.max(SMALLEST.cols, fitting.cols) };
  }

  /** Bring the terminal to the size of what comes, with letters as large as they should be. */
  apply(): void {
    const { terminal } = this.view;
    if (this.whole) this.#scale();
    else if (terminal.options.fontSize !== chosenFontSize()) terminal.options.fontSize = chosenFontSize();
    const { rows, cols } = this.output ?? this.wanted();
    if (rows !== terminal.rows || cols !== terminal.cols) terminal.resize(cols, rows);
    if (terminal.options.fontSize !== this.#letters) keepPlace(terminal);
    this.#letters = terminal.options.fontSize;
  }

  /** Find the letters with which the whole session just fits, but none larger than was chosen. */
  #scale(): void {
    const { terminal, fit } = this.view;
    const room = fit.proposeDimensions();
    if (!room) return;
    const now = terminal.options.fontSize ?? chosenFontSize();
    // Cells grow with the letters: this is how many times larger they may be until the session fills the window.
    const factor = Math.min(room.cols / this.session.cols, room.rows / this.session.rows);
    let size = Math.min(chosenFontSize(), Math.max(SMALLEST_FONT_SIZE, Math.ceil(now * factor * 2) / 2));
    // Cells are whole pixels, so the estimate may be a little too large.
    for (; ; size -= 0.5) {
      terminal.options.fontSize = size;
      const found = fit.proposeDimensions();
      const fits = !found || (found.cols >= this.session.cols && found.rows >= this.session.rows);
      if (fits || size <= SMALLEST_FONT_SIZE) return;
    }
  }
}
