/** What this tab calls itself. A name, no proof: it tells people apart in lists and in who holds the pen. */

import { tabValue } from "./storage";

export const CLIENT_ID = tabValue("client", () => {
  const random = crypto.getRandomValues(new Uint8Array(3));
  return `browser-${[...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
});
