/** The search panel over the terminal. */

import type { ISearchDecorationOptions, ISearchOptions, SearchAddon } from "@xterm/addon-search";
import type { Terminal } from "@xterm/xterm";

import { byId, setText } from "../common/dom";
import { type Theme, currentTheme, followTheme } from "../common/theme";

// The match that is shown is selected, too, which covers its ground: a frame tells it from the others.
const DECORATIONS: Record<Theme, ISearchDecorationOptions> = {
  dark: {
    matchBackground: "#4d4526",
    matchOverviewRuler: "#f2c14e",
    activeMatchBackground: "#8a6a10",
    activeMatchBorder: "#ffd97a",
    activeMatchColorOverviewRuler: "#ffd97a",
  },
  light: {
    matchBackground: "#ffe9a8",
    matchOverviewRuler: "#a06c00",
    activeMatchBackground: "#f2c14e",
    activeMatchBorder: "#8a5a00",
    activeMatchColorOverviewRuler: "#8a5a00",
  },
};

export function addSearch(terminal: Terminal, search: SearchAddon): () => void {
  const panel = byId("search");
  const field = byId<HTMLInputElement>("search-text");
  const matchCase = byId<HTMLInputElement>("search-case");
  const regex = byId<HTMLInputElement>("search-regex");
  const count = byId("search-count");
  const options = (incremental: boolean): ISearchOptions => ({
    caseSensitive: matchCase.checked,
    regex: regex.checked,
    incremental,
    decorations: DECORATIONS[currentTheme()],
  });
  function find(forwards: boolean, incremental = false): void {
    if (!field.value) {
      search.clearDecorations();
      return setText(count, "");
    }
    try {
      if (forwards) search.findNext(field.value, options(incremental));
      else search.findPrevious(field.value, options(incremental));
    } catch {
      setText(count, "not a pattern");
    }
  }
  function close(): void {
    panel.hidden = true;
    search.clearDecorations();
    terminal.focus();
  }
  search.onDidChangeResults(({ resultIndex, resultCount }) => {
    const at = resultIndex >= 0 ? `${resultIndex + 1} of ` : "";
    setText(count, resultCount ? `${at}${resultCount}` : field.value ? "nothing found" : "");
  });
  followTheme(() => {
    if (panel.hidden) return;
    search.clearDecorations();
    find(true, true); // finds what is selected again
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter") find(event.shiftKey);
    else return;
    event.preventDefault();
  });
  // What was printed last is looked for most: upwards from the end.
  for (const input of [field, matchCase, regex]) input.addEventListener("input", () => find(false, true));
  byId("search-up").addEventListener("click", () => find(false));
  byId("search-down").addEventListener("click", () => find(true));
  byId("search-close").addEventListener("click", close);
  return () => {
    panel.hidden = false;
    const selection = terminal.getSelection();
    if (selection && !selection.includes("\n")) field.value = selection;
    field.focus();
    field.select();
    find(false, true);
  };
}
