/** The search panel over the terminal. */

import type { ISearchOptions, SearchAddon } from "@xterm/addon-search";
import type { Terminal } from "@xterm/xterm";

import { byId, setText } from "../common/dom";

const DECORATIONS = {
  matchBackground: "#4d4526",
  matchOverviewRuler: "#f2c14e",
  activeMatchBackground: "#8a6a10",
  activeMatchColorOverviewRuler: "#ffd97a",
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
    decorations: DECORATIONS,
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
