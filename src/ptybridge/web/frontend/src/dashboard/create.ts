/** The dialog that starts a session. */

import { call } from "../common/api";
import { address } from "../common/base";
import { confirmed } from "../common/confirm";
import { ask } from "../common/dialog";
import { h } from "../common/dom";
import type { Session } from "../common/model";
import { recall, remember } from "../common/storage";

const SIZES = ["120×30", "80×24", "100×40", "200×60"];

export async function createSession(): Promise<void> {
  const command = field("command", { placeholder: "your shell", autocomplete: "off", spellcheck: "false", class: "mono" });
  const cwd = field("cwd", { placeholder: "your home directory", spellcheck: "false", class: "mono" });
  cwd.value = recall("cwd") ?? "";
  const name = field("name", { maxlength: 128, autocomplete: "off" });
  const tags = field("tags", { placeholder: "build, night", autocomplete: "off" });
  const size = h("select", { id: "create-size" }, ...SIZES.map((text) => h("option", {}, text)));
  const env = h("textarea", {
    id: "create-env",
    rows: 3,
    class: "mono",
    spellcheck: "false",
    placeholder: "NAME=value, one a line",
  });
  const row = (text: string, input: HTMLElement, hint?: string) =>
    h("div", { class: "field" }, h("label", { for: input.id }, text), input, hint && h("p", { class: "hint" }, hint));
  // What this daemon serves runs where nothing else is asked for.
  void call<{ command: string | null }>("GET", "v1/share").then(
    (served) => served.command && (command.placeholder = served.command),
    () => undefined,
  );
  await ask({
    title: "New session",
    confirm: "Start",
    body: h(
      "div",
      {},
      row("Command", command, "A command line for your shell; empty for the shell itself."),
      row("Folder", cwd),
      h("div", { class: "pair" }, row("Name", name), row("Tags", tags)),
      h(
        "details",
        {},
        h("summary", {}, "Environment and size"),
        row("Environment", env),
        row("Size at first", size, "The terminal page fits it to its window."),
      ),
    ),
    act: async () => {
      const [cols, rows] = size.value.split("×").map(Number);
      remember("cwd", cwd.value.trim() || null);
      const session = await confirmed<Session>("session.create", "v1/sessions", {
        ...(command.value.trim() && { command: command.value.trim() }),
        ...(cwd.value.trim() && { cwd: cwd.value.trim() }),
        ...(name.value.trim() && { name: name.value.trim() }),
        tags: parseTags(tags.value),
        env: parseEnvironment(env.value),
        cols,
        rows,
      });
      location.assign(address(`s/${session.session_id}`));
    },
  });
}

function field(id: string, attributes: Record<string, string | number>): HTMLInputElement {
  return h("input", { id: `create-${id}`, name: id, ...attributes });
}

export function parseTags(text: string): string[] {
  return [...new Set(text.split(/[,\s]+/).filter(Boolean))];
}

/** NAME=value lines; the value is taken as it is. Throws for a line that is none. */
export function parseEnvironment(text: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const line of text.split("\n")) {
    if (!line.trim()) continue;
    const match = /^\s*([A-Za-z_]\w*)=(.*)$/.exec(line);
    if (!match) throw new Error(`Not NAME=value: ${line.trim()}`);
    variables[match[1] ?? ""] = match[2] ?? "";
  }
  return variables;
}
