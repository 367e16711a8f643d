/** Addresses in the output: found in the text, or marked by the program (OSC 8). */

import { WebLinksAddon } from "@xterm/addon-web-links";
import type { Terminal } from "@xterm/xterm";

import { byId } from "../common/dom";
import { plain } from "../common/plain";

// What a click may open. Others (file:, javascript:, an application's own) could do more than show a page.
const ALLOWED = new Set(["http:", "https:", "mailto:"]);

export function addLinks(terminal: Terminal): void {
  const hover = (_: MouseEvent, uri: string) => show(uri);
  terminal.options.linkHandler = {
    activate: (_, uri) => open(uri),
    hover,
    leave: () => show(null),
    allowNonHttpProtocols: true,
  };
  terminal.loadAddon(new WebLinksAddon((_, uri) => open(uri), { hover, leave: () => show(null) }));
}

function open(uri: string): void {
  if (isAllowed(uri)) window.open(uri, "_blank", "noopener,noreferrer");
}

/** The text of a link may say anything; the corner says where it really goes. */
function show(uri: string | null): void {
  const place = byId("link-target");
  place.hidden = uri === null;
  place.textContent = uri === null ? "" : isAllowed(uri) ? new URL(uri).href : `${plain(uri)} (not opened from here)`;
}

export function isAllowed(uri: string): boolean {
  try {
    return ALLOWED.has(new URL(uri).protocol);
  } catch {
    return false;
  }
}
