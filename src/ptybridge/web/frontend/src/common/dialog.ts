/** Questions in a modal dialog of the browser, which keeps the focus inside and closes with Escape. */

import { explain } from "./api";
import { h } from "./dom";

export interface Question {
  title: string;
  body?: Node | string;
  /** What the button that goes on says. */
  confirm: string;
  danger?: boolean;
  /** Called on confirmation; a thrown error is shown and the dialog stays. */
  act?: () => Promise<void> | void;
}

/** Ask; true when the person went on (and `act` worked), false when they did not. */
export function ask(question: Question): Promise<boolean> {
  const titleId = nextId();
  const problem = h("p", { class: "error", role: "alert", hidden: true });
  const confirm = h("button", { class: question.danger ? "danger" : "primary", type: "submit" }, question.confirm);
  const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: titleId }, question.title),
    typeof question.body === "string" ? h("p", {}, question.body) : question.body,
    problem,
    h("div", { class: "actions" }, cancel, confirm),
  );
  const dialog = h("dialog", { "aria-labelledby": titleId }, form);
  let confirmed = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    confirm.disabled = true;
    try {
      await question.act?.();
      confirmed = true;
      dialog.close();
    } catch (error) {
      problem.textContent = explain(error);
      problem.hidden = false;
      confirm.disabled = false;
    }
  });
  return show(dialog, () => confirmed);
}

/** Show something to read; Escape, the button or a click beside it closes it. `more` stands beside the button. */
export function tell(title: string, body: Node, ...more: HTMLElement[]): Promise<boolean> {
  const titleId = nextId();
  const dialog = h(
    "dialog",
    { "aria-labelledby": titleId },
    h("h2", { id: titleId }, title),
    body,
    h("div", { class: "actions" }, ...more, h("button", { onclick: () => dialog.close() }, "Close")),
  );
  return show(dialog, () => false);
}

function show(dialog: HTMLDialogElement, answer: () => boolean): Promise<boolean> {
  const before = document.activeElement;
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => {
    // Only the backdrop is the dialog itself; what lies in it is something else.
    if (event.target === dialog && isOutside(dialog, event)) dialog.close();
  });
  // Keys in a dialog are the dialog's.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.showModal();
  const first = dialog.querySelector<HTMLElement>("[autofocus], input, textarea, select");
  (first ?? dialog.querySelector<HTMLElement>(".actions button:last-child"))?.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before instanceof HTMLElement) before.focus();
      resolve(answer());
    });
  });
}

let dialogs = 0;

/** One dialog may ask on top of another. */
function nextId(): string {
  return `dialog-title-${++dialogs}`;
}

function isOutside(dialog: HTMLElement, event: MouseEvent): boolean {
  const box = dialog.getBoundingClientRect();
  return (
    event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom
  );
}
