/** The terminal itself: xterm.js with its addons, fonts and colours. */

import "./strictstyle";
import "@xterm/xterm/css/xterm.css";

import { FitAddon } from "@xterm/addon-fit";
import { ImageAddon } from "@xterm/addon-image";
import { SearchAddon } from "@xterm/addon-search";
import { UnicodeGraphemesAddon } from "@xterm/addon-unicode-graphemes";
import { WebglAddon } from "@xterm/addon-webgl";
import { Terminal } from "@xterm/xterm";

import { recall, remember } from "../common/storage";
import { currentTheme, followTheme } from "../common/theme";
import { addLinks } from "./links";
import { terminalTheme } from "./themes";

const DEFAULT_FONT_SIZE = 14;
const SMALLEST_FONT_SIZE = 6;
const LARGEST_FONT_SIZE = 40;
const SCROLLBACK_LINES = 10_000;
// Images a program sends are kept up to this much; the oldest go first.
const IMAGE_MEGABYTES = 64;

export interface View {
  terminal: Terminal;
  fit: FitAddon;
  search: SearchAddon;
  /** "webgl", or "dom" where the browser has no WebGL, or has taken it away. */
  renderer: () => "webgl" | "dom";
}

export function makeView(place: HTMLElement): View {
  const style = getComputedStyle(document.documentElement);
  const terminal = new Terminal({
    allowProposedApi: true,
    cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    fontFamily: style.getPropertyValue("--mono").trim() || "monospace",
    fontSize: chosenFontSize(),
    macOptionIsMeta: true,
    minimumContrastRatio: currentTheme() === "light" ? 4.5 : 1,
    screenReaderMode: recall("screen-reader") !== null,
    scrollback: SCROLLBACK_LINES,
    scrollOnUserInput: true,
    theme: terminalTheme(currentTheme()),
    // The session answers programs; a window must not be moved or read out by what is printed in it.
    windowOptions: {},
  });
  const fit = new FitAddon();
  const search = new SearchAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(search);
  terminal.loadAddon(new UnicodeGraphemesAddon());
  terminal.unicode.activeVersion = "15-graphemes";
  terminal.loadAddon(new ImageAddon({ storageLimit: IMAGE_MEGABYTES, enableSizeReports: false }));
  terminal.open(place);
  addLinks(terminal);
  const webgl = useWebgl(terminal);
  // For people in the browser's console, and for tests: a canvas cannot be read.
  Object.assign(place, { terminal });
  followTheme((theme) => {
    terminal.options.theme = terminalTheme(theme);
    terminal.options.minimumContrastRatio = theme === "light" ? 4.5 : 1;
  });
  return { terminal, fit, search, renderer: () => (webgl.active ? "webgl" : "dom") };
}

/** Draw on the graphics card; without one, and when it is lost, xterm's own renderer does it. */
function useWebgl(terminal: Terminal): { active: boolean } {
  const state = { active: false };
  try {
    const webgl = new WebglAddon();
    webgl.onContextLoss(() => {
      state.active = false;
      webgl.dispose();
    });
    terminal.loadAddon(webgl);
    state.active = true;
  } catch {
    // No WebGL 2 here.
  }
  return state;
}

/**
 * Show the same lines after the letters have changed their size.
 *
 * xterm.js 6.0 keeps its place in pixels and forgets to work them out anew; the next turn of the wheel would jump. Nothing
 * public makes it: this is what it does itself where the buffer becomes another.
 */
export function keepPlace(terminal: Terminal): void {
  const { _core: core } = terminal as unknown as { _core: { _viewport?: { _latestYDisp?: number; queueSync(): void } } };
  const viewport = core._viewport;
  if (!viewport) return;
  delete viewport._latestYDisp;
  viewport.queueSync();
}

/** Keep the text also where screen readers find it, for this browser from now on; costs some speed. */
export function toggleScreenReader(terminal: Terminal): boolean {
  const on = !terminal.options.screenReaderMode;
  terminal.options.screenReaderMode = on;
  remember("screen-reader", on ? "on" : null);
  return on;
}

export function chosenFontSize(): number {
  const size = Number(recall("font-size"));
  return size >= SMALLEST_FONT_SIZE && size <= LARGEST_FONT_SIZE ? size : DEFAULT_FONT_SIZE;
}

/** Make the letters larger or smaller (null: as at first), for this browser from now on. */
export function changeFontSize(by: number | null): number {
  const size = by === null ? DEFAULT_FONT_SIZE : chosenFontSize() + by;
  const allowed = Math.min(LARGEST_FONT_SIZE, Math.max(SMALLEST_FONT_SIZE, size));
  remember("font-size", allowed === DEFAULT_FONT_SIZE ? null : String(allowed));
  return allowed;
}
