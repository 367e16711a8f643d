/** Dialogs for a session that is there: its name and tags, its end. */

import { call } from "../common/api";
import { ask } from "../common/dialog";
import { h } from "../common/dom";
import { type Session, commandLine, label } from "../common/model";
import { parseTags } from "./create";

export async function renameSession(session: Session): Promise<boolean> {
  const name = h("input", { id: "edit-name", maxlength: 128, autocomplete: "off", value: session.name ?? "" });
  const tags = h("input", { id: "edit-tags", autocomplete: "off", value: session.tags.join(", ") });
  return ask({
    title: `Name and tags of “${label(session)}”`,
    confirm: "Save",
    body: h(
      "div",
      {},
      h("div", { class: "field" }, h("label", { for: "edit-name" }, "Name"), name),
      h("div", { class: "field" }, h("label", { for: "edit-tags" }, "Tags"), tags),
    ),
    act: () =>
      call("PATCH", `v1/sessions/${session.session_id}`, {
        name: name.value.trim() || null,
        tags: parseTags(tags.value),
      }),
  });
}

export function endSession(session: Session): Promise<boolean> {
  const running = session.state === "running";
  return ask({
    title: running ? `End “${label(session)}”?` : `Forget “${label(session)}”?`,
    body: h(
      "p",
      {},
      running ? "Its processes are ended and its output is forgotten: " : "Its output is forgotten: ",
      h("code", {}, commandLine(session)),
    ),
    confirm: running ? "End it" : "Forget it",
    danger: true,
    act: () => call("DELETE", `v1/sessions/${session.session_id}`),
  });
}
