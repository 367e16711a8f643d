/** Short messages in the corner, read out by screen readers. */

import { h } from "./dom";

const SHOWN_MS = 6000;
let place: HTMLElement | null = null;

export function toast(text: string, kind: "info" | "bad" = "info"): void {
  if (!place) {
    place = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
    document.body.append(place);
  }
  // Said once while it is to be seen, however often the reason for it comes.
  if ([...place.children].some(({ textContent }) => textContent === text)) return;
  const message = h("div", { class: kind === "bad" ? "toast bad" : "toast" }, text);
  place.append(message);
  setTimeout(() => message.remove(), SHOWN_MS + text.length * 40);
}
