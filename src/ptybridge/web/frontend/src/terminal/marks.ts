/**
 * Marks of commands beside the lines they begin on: shells tell where a prompt is and how a command ended (OSC 133).
 */

import type { IDecoration, IMarker, Terminal } from "@xterm/xterm";

import { setText } from "../common/dom";
import type { CommandMark } from "./frames";

interface Mark {
  marker: IMarker;
  decoration: IDecoration | undefined;
  exit: number | null;
  ran: boolean;
  ended: boolean;
}

// Older marks scroll out with their lines anyway; this is for those who clear nothing.
const MOST_MARKS = 2000;

export class Marks {
  #marks: Mark[] = [];

  constructor(readonly terminal: Terminal) {
    terminal.parser.registerOscHandler(133, (data) => {
      this.#sequence(data);
      return false;
    });
  }

  /** Scroll to the command before or after what is shown at the top. */
  go(direction: -1 | 1): void {
    const top = this.terminal.buffer.active.viewportY;
    const lines = this.#marks.map(({ marker }) => marker.line).filter((line) => line >= 0);
    const target = direction < 0 ? lines.filter((line) => line < top).at(-1) : lines.find((line) => line > top);
    if (target !== undefined) this.terminal.scrollToLine(target);
    else if (direction > 0) this.terminal.scrollToBottom();
  }

  /** Take over the marks of a snapshot that has just been drawn into an empty terminal. */
  place(marks: CommandMark[]): void {
    for (const { marker } of [...this.#marks]) marker.dispose();
    const buffer = this.terminal.buffer.active;
    if (buffer.type !== "normal") return;
    for (const { line, state, exit_code } of marks)
      this.#add(line - buffer.baseY - buffer.cursorY, { exit: exit_code, ran: state !== "prompt", ended: state === "done" });
  }

  /** The shell has ended: what it was running does not run any more. */
  end(): void {
    const last = this.#marks.at(-1);
    if (!last?.ran) return;
    last.ended = true;
    if (last.decoration?.element) draw(last.decoration.element, last);
  }

  #sequence(data: string): void {
    const last = this.#marks.at(-1);
    switch (data[0]) {
      case "A":
        return this.#prompt();
      case "C":
        if (last) last.ran = true;
        break;
      case "D": {
        const code = /^D;(\d+)/.exec(data)?.[1];
        if (last?.ran) last.ended = true;
        if (last?.ran && code !== undefined) last.exit = Number(code);
        break;
      }
    }
    if (last?.decoration?.element) draw(last.decoration.element, last);
  }

  #prompt(): void {
    if (this.terminal.buffer.active.type !== "normal") return;
    const marker = this.terminal.registerMarker(0);
    // A prompt that is drawn again (a resize, a redisplay) is the same prompt.
    const last = this.#marks.at(-1);
    if (last && !last.ran && last.marker.line === marker.line) return marker.dispose();
    marker.dispose();
    this.#add(0, { exit: null, ran: false, ended: false });
  }

  /** Mark the line that lies so many below the cursor's. */
  #add(below: number, state: Pick<Mark, "exit" | "ran" | "ended">): void {
    const marker = this.terminal.registerMarker(below);
    const decoration = this.terminal.registerDecoration({ marker, x: 0, width: 1, layer: "top" });
    const mark: Mark = { marker, decoration, ...state };
    decoration?.onRender((element) => draw(element, mark));
    marker.onDispose(() => {
      this.#marks = this.#marks.filter((other) => other !== mark);
    });
    this.#marks.push(mark);
    if (this.#marks.length > MOST_MARKS) this.#marks[0]?.marker.dispose();
  }
}

function draw(element: HTMLElement, mark: Mark): void {
  // Of one that was ended by a new prompt nobody knows how.
  const unknown = mark.ran && !mark.ended ? "running" : "prompt";
  const state = mark.exit === null ? unknown : mark.exit === 0 ? "good" : "bad";
  element.className = `xterm-decoration command-mark ${state}`;
  element.title = mark.exit === null ? (unknown === "running" ? "running" : "") : `status ${mark.exit}`;
  setText(element, "");
}
