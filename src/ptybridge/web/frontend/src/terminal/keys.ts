/** Keys that are the page's and not the program's. Everything else passes. */

import type { Terminal } from "@xterm/xterm";

export interface PageKeys {
  copy: () => void;
  search: () => void;
  files: () => void;
  help: () => void;
  fontSize: (by: number | null) => void;
  previousCommand: () => void;
  nextCommand: () => void;
  /** Whether the program has ended. */
  over: () => boolean;
}

/** What the help shows; first the keys, then what they do. */
export const KEY_HELP: [string, string][] = [
  ["Ctrl Shift C", "copy the selection (also Ctrl Insert)"],
  ["Ctrl Shift V", "paste (also Shift Insert)"],
  ["Ctrl Shift F", "search in the output"],
  ["Ctrl Shift E", "files"],
  ["Ctrl + / Ctrl − / Ctrl 0", "larger, smaller, normal letters"],
  ["Ctrl Shift ↑ / ↓", "to the previous or next command"],
  ["Shift PgUp / PgDn", "scroll"],
  ["Shift F1", "this help"],
];

export function addKeys(terminal: Terminal, keys: PageKeys): void {
  terminal.attachCustomKeyEventHandler((event) => {
    // Nobody takes it any more: it leads on to what can be done now.
    if (event.key === "Tab" && keys.over()) return false;
    const action = pageAction(event, keys);
    if (!action) return true;
    if (event.type === "keydown") action();
    event.preventDefault();
    return false;
  });
}

function pageAction(event: KeyboardEvent, keys: PageKeys): (() => void) | null {
  const command = event.ctrlKey || event.metaKey;
  if (event.shiftKey && event.key === "F1") return keys.help;
  if (!command || event.altKey) return null;
  if (event.shiftKey) {
    switch (event.code) {
      case "KeyC":
        // Also with nothing to copy: the browser would open its developers' tools.
        return keys.copy;
      case "KeyV":
        // The browser pastes, which xterm hears; it must not also be typed.
        return null;
      case "KeyF":
        return keys.search;
      case "KeyE":
        return keys.files;
      case "ArrowUp":
        return keys.previousCommand;
      case "ArrowDown":
        return keys.nextCommand;
    }
  }
  switch (event.key) {
    case "+":
    case "=":
      return () => keys.fontSize(1);
    case "-":
      return () => keys.fontSize(-1);
    case "0":
      return () => keys.fontSize(null);
  }
  return null;
}
