/** Dark and light: the system's choice, unless this browser was told otherwise. */

import { recall, remember } from "./storage";

export type Theme = "dark" | "light";

const light = matchMedia("(prefers-color-scheme: light)");
const listeners = new Set<(theme: Theme) => void>();

export function currentTheme(): Theme {
  const chosen = recall("theme");
  if (chosen === "dark" || chosen === "light") return chosen;
  return light.matches ? "light" : "dark";
}

/** Show the theme, now and when it changes, here or in another tab. */
export function followTheme(listener?: (theme: Theme) => void): void {
  if (listener) listeners.add(listener);
  apply();
}

export function toggleTheme(): void {
  const next: Theme = currentTheme() === "dark" ? "light" : "dark";
  // Back at what the system says, follow the system again.
  remember("theme", next === (light.matches ? "light" : "dark") ? null : next);
  apply();
}

function apply(): void {
  const theme = currentTheme();
  document.documentElement.dataset["theme"] = theme;
  for (const listener of listeners) listener(theme);
}

light.addEventListener("change", apply);
addEventListener("storage", apply);
