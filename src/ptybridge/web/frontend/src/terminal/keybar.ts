/** Keys that a telephone's keyboard lacks, in a bar above it. */

import type { Terminal } from "@xterm/xterm";

import { h } from "../common/dom";

const KEYS: [label: string, name: string, normal: string, application?: string][] = [
  ["Esc", "Escape", "\x1b"],
  ["Tab", "Tab", "\t"],
  ["←", "Left", "\x1b[D", "\x1bOD"],
  ["↓", "Down", "\x1b[B", "\x1bOB"],
  ["↑", "Up", "\x1b[A", "\x1bOA"],
  ["→", "Right", "\x1b[C", "\x1bOC"],
  ["|", "Pipe", "|"],
  ["/", "Slash", "/"],
  ["-", "Dash", "-"],
  ["~", "Tilde", "~"],
];

/** Returns what turns typed text into what is sent: after a touch on Ctrl the next letter is a control character. */
export function addKeybar(place: HTMLElement, terminal: Terminal): (data: string) => string {
  let control = false;
  const ctrl = button("Ctrl", "Control, for the next key", () => press(!control));
  ctrl.setAttribute("aria-pressed", "false");
  function press(on: boolean): void {
    control = on;
    ctrl.setAttribute("aria-pressed", String(on));
  }
  const others = KEYS.map(([label, name, normal, application]) =>
    button(label, name, () => {
      const data = application && terminal.modes.applicationCursorKeysMode ? application : normal;
      terminal.input(data);
    }),
  );
  place.append(...others.slice(0, 2), ctrl, ...others.slice(2));
  return (data) => {
    if (!control || data.length !== 1) return data;
    press(false);
    const code = data.toUpperCase().charCodeAt(0);
    // @ A…Z [ \ ] ^ _ are control characters with bit 6 off; Ctrl ? is DEL (ECMA-48 and every terminal since).
    if (code >= 0x40 && code <= 0x5f) return String.fromCharCode(code & 0x1f);
    return data === " " ? "\0" : data === "?" ? "\x7f" : data;
  };
}

function button(label: string, name: string, act: () => void): HTMLButtonElement {
  return h(
    "button",
    {
      type: "button",
      "aria-label": name,
      // The focus, and with it the on-screen keyboard, stays where it is.
      onpointerdown: (event: PointerEvent) => event.preventDefault(),
      onclick: act,
    },
    label,
  );
}
