/** The menu of the terminal page, and the help. */

import { call } from "../common/api";
import { address } from "../common/base";
import { ask, tell } from "../common/dialog";
import { byId, h } from "../common/dom";
import { type Session, commandLine, label } from "../common/model";
import { allow } from "../common/rights";
import { toggleTheme } from "../common/theme";
import { toast } from "../common/toast";
import { writeClipboard } from "./clipboard";
import { KEY_HELP } from "./keys";

export interface MenuActions {
  session: () => Session;
  watching: boolean;
  /** Why an operation on the session may not be called; null when it may. */
  refusal: (operation: string) => string | null;
  fontSize: (by: number | null) => void;
  screenReader: () => void;
  copy: () => void;
  paste: () => void;
  search: () => void;
  /** Null while, or when, there are none for this login. */
  files: () => (() => void) | null;
  focus: () => void;
}

export function addMenu(actions: MenuActions): void {
  const menu = h("dialog", { class: "menu", "aria-label": "Menu" });
  const item = (text: string, act: () => void, kind = "quiet") =>
    h("button", { type: "button", class: kind, onclick: () => (menu.close(), act()) }, text);
  const letters = h(
    "div",
    { class: "letters", role: "group", "aria-label": "Size of the letters" },
    h("button", { type: "button", "aria-label": "Smaller letters", onclick: () => actions.fontSize(-1) }, "A−"),
    h("button", { type: "button", "aria-label": "Normal letters", onclick: () => actions.fontSize(null) }, "A"),
    h("button", { type: "button", "aria-label": "Larger letters", onclick: () => actions.fontSize(1) }, "A+"),
  );
  const here = location.pathname;
  const files = item("Files", () => actions.files()?.());
  const end = item("End this session …", () => void endSession(actions.session()), "danger");
  const paste = item("Paste", actions.paste);
  const type = item("Type here again", () => location.assign(here));
  menu.append(
    letters,
    item("Dark or light", toggleTheme),
    actions.watching
      ? type
      : item("Only watch", () => location.assign(`${here}?view`)),
    item("Copy a link for watching", () => {
      void writeClipboard(`${location.origin}${here}?view`).then((copied) => copied && toast("The link is on the clipboard."));
    }),
    item("Copy what is shown", actions.copy),
    paste,
    item("Search", actions.search),
    files,
    item("For screen readers", actions.screenReader),
    item("Full screen", () => void fullScreen()),
    item("Keys and help", showHelp),
    end,
  );
  document.body.append(menu);
  const button = byId("menu");
  button.addEventListener("click", () => {
    files.hidden = actions.files() === null;
    // Browsers give it to pages with TLS, and to those of this machine.
    paste.hidden = actions.watching || !navigator.clipboard?.readText;
    allow(end, actions.refusal("session.close"));
    allow(type, actions.refusal("session.write"));
    menu.showModal();
    const { bottom, right } = button.getBoundingClientRect();
    menu.style.top = `${bottom + 4}px`;
    menu.style.maxHeight = `${(visualViewport?.height ?? innerHeight) - bottom - 12}px`;
    menu.style.right = `${Math.max(8, innerWidth - right)}px`;
  });
  menu.addEventListener("click", (event) => {
    if (event.target === menu) menu.close();
  });
  // Also of the dialogs that the menu opens; "close" does not bubble, and they give the focus back first.
  document.addEventListener("close", () => setTimeout(actions.focus), { capture: true });
}

/** Ask, and end the session's processes. */
export async function endSession(session: Session): Promise<void> {
  const ended = await ask({
    title: `End “${label(session)}”?`,
    body: h("p", {}, "Its processes are ended and its output is forgotten: ", h("code", {}, commandLine(session))),
    confirm: "End it",
    danger: true,
    act: () => call("DELETE", `v1/sessions/${session.session_id}`),
  });
  if (ended) location.assign(address(""));
}

/** Fill the screen, and have the keys that the browser keeps otherwise; not every browser gives them. */
async function fullScreen(): Promise<void> {
  if (document.fullscreenElement) return document.exitFullscreen();
  await document.documentElement.requestFullscreen();
  const { keyboard } = navigator as { keyboard?: { lock?: () => Promise<void> } };
  await keyboard?.lock?.();
}

export function showHelp(): void {
  const rows = KEY_HELP.map(([keys, what]) => h("tr", {}, h("th", {}, ...chords(keys)), h("td", {}, what)));
  void tell(
    "Keys",
    h(
      "div",
      {},
      h("table", { class: "keys" }, h("tbody", {}, ...rows)),
      h(
        "p",
        { class: "hint" },
        "Every other key goes to the program. The browser keeps a few for itself: ",
        ...["Ctrl W", "Ctrl T", "Ctrl N"].flatMap((keys) => [...chords(keys), " "]),
        "– in full screen (see the menu) Chromium and its kin give them to the program too.",
      ),
      h("p", { class: "hint" }, "Hold Shift to select text while a program uses the mouse."),
    ),
  );
}

function chords(text: string): (Node | string)[] {
  return text.split(" ").map((word) => (word === "/" ? " / " : h("kbd", {}, word)));
}
