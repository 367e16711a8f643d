/** The terminal's colours in both themes. */

import type { ITheme } from "@xterm/xterm";

import type { Theme } from "../common/theme";

const DARK: ITheme = {
  background: "#0f1720",
  foreground: "#e6edf2",
  cursor: "#5fd3bc",
  cursorAccent: "#0f1720",
  selectionBackground: "#33566a",
  selectionInactiveBackground: "#26404f",
  black: "#1d2b38",
  red: "#ff7b72",
  green: "#63d297",
  yellow: "#f2c14e",
  blue: "#6cb6ff",
  magenta: "#d2a8ff",
  cyan: "#5fd3bc",
  white: "#c9d6df",
  brightBlack: "#6f8494",
  brightRed: "#ffa198",
  brightGreen: "#8ee6b5",
  brightYellow: "#ffd97a",
  brightBlue: "#96cdff",
  brightMagenta: "#e2c5ff",
  brightCyan: "#8ff0dc",
  brightWhite: "#ffffff",
};

const LIGHT: ITheme = {
  background: "#ffffff",
  foreground: "#14212b",
  cursor: "#0d7a66",
  cursorAccent: "#ffffff",
  selectionBackground: "#bcdcd6",
  selectionInactiveBackground: "#dbe8e6",
  black: "#14212b",
  red: "#b3261e",
  green: "#14733f",
  yellow: "#8a5a00",
  blue: "#0b5cad",
  magenta: "#8031a7",
  cyan: "#0d7a66",
  white: "#526472",
  brightBlack: "#6a7c89",
  brightRed: "#d33a2f",
  brightGreen: "#1d8a50",
  brightYellow: "#a06c00",
  brightBlue: "#1a73d0",
  brightMagenta: "#9a45c2",
  brightCyan: "#158f79",
  brightWhite: "#14212b",
};

export function terminalTheme(theme: Theme): ITheme {
  return theme === "dark" ? DARK : LIGHT;
}
