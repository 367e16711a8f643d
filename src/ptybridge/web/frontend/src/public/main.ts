/** Leads a visitor to the shared session, which starts when the first one comes. */

import "../common/base.css";
import "./public.css";

import { ApiError, call, explain } from "../common/api";
import { address } from "../common/base";
import { byId } from "../common/dom";
import { followTheme } from "../common/theme";

interface Joined {
  session_id: string;
  backend: string;
}

// A place that was full may be free a moment later.
const AGAIN_MS = 5000;

async function join(): Promise<void> {
  const actions = byId("actions");
  actions.hidden = true;
  byId("status").textContent = "Joining …";
  try {
    const { session_id, backend } = await call<Joined>("POST", "v1/share/join");
    // What runs behind pipes reads and writes lines.
    location.replace(address(`s/${session_id}${backend === "pipes" ? "?view=line" : ""}`));
  } catch (error) {
    byId("status").textContent = explain(error);
    actions.hidden = false;
    if (error instanceof ApiError && error.code === "limit_reached") setTimeout(() => void join(), AGAIN_MS);
  }
}

followTheme();
byId("again").addEventListener("click", () => void join());
void join();
