/** The login page: a one-time code from the address's fragment, or a code or key typed in, becomes a cookie. */

import "../common/base.css";
import "./login.css";

import { ApiError, call, explain } from "../common/api";
import { address } from "../common/base";
import { byId } from "../common/dom";
import { followTheme } from "../common/theme";

const form = byId<HTMLFormElement>("login");
const field = byId<HTMLInputElement>("code");
const status = byId("status");

async function logIn(code: string): Promise<void> {
  status.textContent = "Logging in …";
  try {
    await call("POST", "v1/login", { code });
  } catch (error) {
    form.hidden = false;
    status.textContent =
      error instanceof ApiError && (error.status === 401 || error.status === 403)
        ? "This code is not valid any more. A code works once, and only for a short time."
        : explain(error);
    field.value = "";
    field.focus();
    return;
  }
  location.replace(destination());
}

/** Where the person wanted to go; only ever a place of this server, below its base. */
function destination(): URL {
  const next = new URLSearchParams(location.search).get("next") ?? "";
  const base = address("");
  try {
    const wanted = new URL(next, base);
    if (wanted.origin === base.origin && wanted.pathname.startsWith(base.pathname)) return wanted;
  } catch {
    // No address: then the start.
  }
  return base;
}

followTheme();
form.addEventListener("submit", (event) => {
  event.preventDefault();
  void logIn(field.value.trim());
});
const code = decodeURIComponent(location.hash.slice(1)).replace(/^code=/, "");
if (code) {
  // Neither the history nor a bookmark keeps it.
  history.replaceState(null, "", location.pathname + location.search);
  void logIn(code);
} else {
  form.hidden = false;
  field.focus();
}
