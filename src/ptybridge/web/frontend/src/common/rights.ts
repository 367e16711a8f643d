/** What this caller may do, as the server tells it: what would be refused is not offered, or says why. */

import { call } from "./api";

interface Identity {
  principal: string;
  operations: string[];
  refused_by_access: Record<string, string[]>;
  as_creator: string[];
  session_ids: string[] | null;
  file_roots: string[] | null;
}

/** What of a session decides what may be done to it. */
export interface Owned {
  access: string;
  created_by: string;
}

export class Rights {
  #operations: Set<string>;

  constructor(readonly identity: Identity) {
    this.#operations = new Set(identity.operations);
  }

  /** Whether an operation may be called at all. */
  may(operation: string): boolean {
    return this.#operations.has(operation);
  }

  /** Why something may not be done to a session; null when it may. */
  refusal(operation: string, session: Owned): string | null {
    if (!this.may(operation)) return "Your login does not allow this.";
    const { refused_by_access, as_creator, principal } = this.identity;
    if (!refused_by_access[session.access]?.includes(operation)) return null;
    if (session.created_by === principal && as_creator.includes(operation)) return null;
    return `The session’s access (${session.access}) does not allow this.`;
  }

  mayOn(operation: string, session: Owned): boolean {
    return this.refusal(operation, session) === null;
  }
}

let known: Promise<Rights> | null = null;

/** Ask once; a failure is asked again the next time. */
export function rights(): Promise<Rights> {
  known ??= call<Identity>("GET", "v1/whoami").then(
    (identity) => new Rights(identity),
    (error: unknown) => {
      known = null;
      throw error;
    },
  );
  return known;
}

/** Disable a control and say why, or enable it. */
export function allow(control: HTMLButtonElement, reason: string | null, title = ""): void {
  control.disabled = reason !== null;
  control.title = reason ?? title;
}
