/** Questions for a person, on the terminal page: a button that counts them, and a dialog that shows them. */

import { Approvals } from "../common/approvals";
import { byId, h, setText } from "../common/dom";
import type { Rights } from "../common/rights";
import { toast } from "../common/toast";

/** `asked` is called when somebody has to look. */
export function addQuestions(may: Rights, asked: () => void): Approvals {
  const place = h("div", {});
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h(
    "dialog",
    { class: "questions", "aria-labelledby": "questions-title" },
    h("h2", { id: "questions-title" }, "Questions for you"),
    place,
    h("div", { class: "actions" }, close),
  );
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  document.body.append(dialog);
  const button = byId("questions");
  button.addEventListener("click", () => {
    dialog.showModal();
    // Enter must not answer anything by accident.
    close.focus();
  });
  const approvals = new Approvals(may, place, (open, fresh) => {
    button.hidden = !open.length;
    setText(button, open.length === 1 ? "1 question" : `${open.length} questions`);
    if (!open.length) dialog.close();
    if (!fresh.length) return;
    toast("Somebody asks for your permission: see the button above.");
    asked();
  });
  void approvals.refresh();
  return approvals;
}
