/**
 * Calls that the policy may ask about: the reason is shown, and what it takes is asked for. That is a justification,
 * or, where a human has to decide, somebody else's answer, which is waited for.
 */

import { ApiError, call } from "./api";
import { ask, tell } from "./dialog";
import { h } from "./dom";

interface Match {
  rule: string;
  reason: string;
}

interface Asked {
  command: string;
  matches: Match[];
  rule: string;
  approval_id?: string;
}

interface Answer {
  reason: "allowed" | "denied" | "expired" | "timeout";
  message: string | null;
  confirm_token: string | null;
}

// Each question to the server is over before anything between gives up on it.
const WAIT_MS = 20_000;

/** Nothing was done, because nobody confirmed it. */
class NotConfirmed extends Error {}

/** POST, and once more with a token when it had to be confirmed. `operation` is what the route calls. */
export async function confirmed<T>(operation: string, path: string, parameters: object): Promise<T> {
  try {
    return await call<T>("POST", path, parameters);
  } catch (error) {
    if (!(error instanceof ApiError && error.code === "confirmation_required")) throw error;
    const asked = error.data as unknown as Asked;
    const confirm_token = asked.approval_id
      ? await answered(asked.approval_id, asked)
      : await justified(operation, asked);
    return call<T>("POST", path, { ...parameters, confirm_token });
  }
}

/** What is asked about, as a person can judge it. */
function described(asked: Asked): HTMLElement {
  const because = asked.matches.map(({ reason }) => h("li", {}, reason));
  return h(
    "div",
    {},
    h("pre", { class: "asked", tabindex: 0 }, asked.command || "(your shell)"),
    because.length ? h("ul", { class: "because" }, ...because) : h("p", { class: "hint" }, `The rule “${asked.rule}” asks.`),
  );
}

async function justified(operation: string, asked: Asked): Promise<string> {
  const why = h("input", { id: "justification", required: true, autocomplete: "off", maxlength: 4096 });
  let token: string | null = null;
  await ask({
    title: "This needs a confirmation",
    body: h(
      "div",
      {},
      described(asked),
      h("div", { class: "field" }, h("label", { for: "justification" }, "Why must it run?"), why),
    ),
    confirm: "Run it",
    danger: true,
    act: async () => {
      const { command } = asked;
      const given = { command, justification: why.value, operation };
      token = (await call<{ confirm_token: string | null }>("POST", "v1/policy/confirm", given)).confirm_token;
      if (token === null) throw new NotConfirmed("The server gave no confirmation for this.");
    },
  });
  if (token === null) throw new NotConfirmed("It was not confirmed, and nothing was started.");
  return token;
}

async function answered(approvalId: string, asked: Asked): Promise<string> {
  const body = h(
    "div",
    {},
    described(asked),
    h("p", { class: "waiting", role: "status" }, "Somebody else was asked to allow this, and it goes on with their answer."),
  );
  const closed = tell("Waiting for somebody’s answer", body).then(() => null);
  try {
    for (;;) {
      const answer = await Promise.race([
        closed,
        call<Answer>("GET", `v1/approvals/${approvalId}/wait`, { timeout_ms: WAIT_MS }),
      ]);
      if (answer === null) throw new NotConfirmed("It was not waited for, and nothing was started. The question stays open.");
      if (answer.confirm_token) return answer.confirm_token;
      if (answer.reason === "timeout") continue;
      throw new NotConfirmed(
        answer.reason === "denied"
          ? `It was denied${answer.message ? `: ${answer.message}` : "."}`
          : "Nobody has answered in time, and nothing was started.",
      );
    }
  } finally {
    body.closest("dialog")?.close();
  }
}
