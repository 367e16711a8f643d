/** Copying and pasting without surprises, and programs that ask for the clipboard (OSC 52). */

import { Base64, ClipboardAddon } from "@xterm/addon-clipboard";
import type { Terminal } from "@xterm/xterm";

import { ask } from "../common/dialog";
import { h } from "../common/dom";
import { toast } from "../common/toast";

const PREVIEW_CHARACTERS = 1500;
// What a program may put on the clipboard at once; nobody judges more than that by looking at its beginning.
const MOST_CLIPBOARD = 256 * 1024;
// Escape sequences in a paste could end the paste early and then type commands; tab and line ends are text.
const CONTROLS = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;

/** `asks`: whether a program may ask for the clipboard here at all; a person's own pastes are another thing. */
export function addClipboard(
  terminal: Terminal,
  place: HTMLElement,
  writable: () => boolean,
  asks: () => boolean,
): void {
  place.addEventListener("paste", (event) => void pasted(event), { capture: true });
  async function pasted(event: ClipboardEvent): Promise<void> {
    event.preventDefault();
    event.stopPropagation();
    const text = event.clipboardData?.getData("text/plain") ?? "";
    await paste(terminal, text, writable());
  }
  let allowed = false;
  const provider = {
    // A program must not read what was copied elsewhere.
    readText: () => Promise.resolve(""),
    writeText: async (_: string, text: string) => {
      if (!text || document.hidden) return;
      // What runs there is others', too: whoever types can have it print this.
      if (!asks()) return toast("The program wanted to use your clipboard, which shared sessions may not.");
      if (text.length > MOST_CLIPBOARD) return toast("The program wanted to put more on your clipboard than it may.");
      allowed ||= await mayWrite(text);
      if (allowed) await writeClipboard(text);
    },
  };
  terminal.loadAddon(new ClipboardAddon(new Base64(), provider as never));
}

/** Send text as a paste; lines that would run at once are shown first. */
export async function paste(terminal: Terminal, text: string, writable = true): Promise<void> {
  const clean = text.replace(CONTROLS, "");
  if (!clean) return;
  if (!writable) return toast("You are watching: nothing was pasted.");
  const lines = clean.replace(/\r?\n$/, "").split(/\r?\n|\r/).length;
  const runs = /[\r\n]/.test(clean) && !terminal.modes.bracketedPasteMode;
  if (runs && !(await ask(warning(clean, lines)))) return;
  terminal.focus();
  terminal.paste(clean);
}

/** Paste without a keyboard: telephones have no key for it, and nothing in the terminal to press long on. */
export async function pasteClipboard(terminal: Terminal, writable: boolean): Promise<void> {
  let text: string;
  try {
    text = await navigator.clipboard.readText();
  } catch {
    return toast("The browser did not allow pasting.", "bad");
  }
  await paste(terminal, text, writable);
}

/** Copy what is selected, or else the lines that are shown. */
export async function copyShown(terminal: Terminal): Promise<void> {
  const text = terminal.getSelection() || shownText(terminal);
  if (await writeClipboard(text)) toast("It is on the clipboard.");
}

/** The lines that are shown, wrapped ones as the one that they are. */
function shownText({ buffer: { active }, rows }: Terminal): string {
  let text = "";
  for (let row = active.viewportY; row < active.viewportY + rows; row++) {
    const line = active.getLine(row);
    const goesOn = active.getLine(row + 1)?.isWrapped ?? false;
    if (line) text += line.translateToString(!goesOn) + (goesOn ? "" : "\n");
  }
  return text.replace(/\n+$/, "\n");
}

function warning(text: string, lines: number) {
  const shown = text.length > PREVIEW_CHARACTERS ? `${text.slice(0, PREVIEW_CHARACTERS)} …` : text;
  return {
    title: lines === 1 ? "Paste a line and run it?" : `Paste ${lines} lines?`,
    body: h(
      "div",
      {},
      h("p", {}, "The program takes a paste like typing: each line runs as soon as it comes."),
      h("pre", { class: "paste-preview", tabindex: 0 }, shown),
    ),
    confirm: "Paste",
  };
}

/** Put text on the clipboard; also where the newer way is not to be had (pages without TLS); false when it cannot be. */
export async function writeClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Not allowed, or not there.
  }
  const before = document.activeElement;
  const field = h("textarea", { class: "visually-hidden", "aria-hidden": "true" });
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  if (!copied) toast("The browser did not allow copying.", "bad");
  return copied;
}

function mayWrite(text: string): Promise<boolean> {
  const shown = text.length > PREVIEW_CHARACTERS ? `${text.slice(0, PREVIEW_CHARACTERS)} …` : text;
  return ask({
    title: "Let the program use your clipboard?",
    body: h(
      "div",
      {},
      h("p", {}, "It wants to replace what you have copied. If you allow it, it may until this page is closed."),
      h("pre", { class: "paste-preview", tabindex: 0 }, shown),
    ),
    confirm: "Allow",
  });
}
