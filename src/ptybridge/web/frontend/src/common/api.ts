/** Calls of operations over HTTP, with errors of one shape. */

import { address } from "./base";

/** What the server answers when it refuses; `code` is a snake_case name, stable for programs. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string | null,
    readonly retryable: boolean,
    readonly data: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

/** The request got no answer: no network, or no server. */
export class Unreachable extends Error {
  constructor() {
    super("The server does not answer.");
  }
}

type Method = "GET" | "POST" | "PATCH" | "DELETE";

/** Call a route. GET puts `parameters` into the query, the others into a JSON body. */
export async function call<T>(method: Method, path: string, parameters: object = {}): Promise<T> {
  const url = address(path);
  const init: RequestInit = { method, headers: { Accept: "application/json" }, credentials: "same-origin" };
  if (method === "GET") {
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, String(value));
  } else {
    init.headers = { ...init.headers, "Content-Type": "application/json" };
    init.body = JSON.stringify(parameters);
  }
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch {
    throw new Unreachable();
  }
  const text = await response.text();
  if (response.ok) return (text ? JSON.parse(text) : null) as T;
  const failure = refusal(response.status, text);
  if (failure.status === 401) goToLogin();
  throw failure;
}

/** The error in an answer that is none of success. */
export function refusal(status: number, text: string): ApiError {
  try {
    const { error } = JSON.parse(text) as { error: Partial<ApiError> };
    return new ApiError(
      status,
      error.code ?? "unknown",
      error.message ?? `The server refused (${status}).`,
      error.hint ?? null,
      error.retryable ?? false,
      error.data ?? {},
    );
  } catch {
    return new ApiError(status, "unknown", `The server answered with status ${status}.`, null, status >= 500);
  }
}

let leaving = false;

/** End the login, and leave for the page that asks for another. */
export async function logOut(): Promise<void> {
  // What is open ends with the login, and must not lead there a second time.
  leaving = true;
  try {
    await call("POST", "v1/logout");
  } catch (error) {
    leaving = false;
    throw error;
  }
  location.assign(address("login"));
}

/** Leave for the login page, which comes back here; once, however many calls are refused. */
export function goToLogin(): void {
  const login = address("login");
  if (leaving || location.pathname === login.pathname) return;
  leaving = true;
  login.searchParams.set("next", location.pathname.slice(address("").pathname.length));
  location.replace(login);
}

/** What to tell a person about anything that was thrown. */
export function explain(error: unknown): string {
  if (error instanceof ApiError && error.hint) return sentence(`${error.message} – ${error.hint}`);
  return sentence(error instanceof Error ? error.message : String(error));
}

/** With a capital, as people begin sentences; a path or a name that stands first stays what it is. */
export function sentence(text: string): string {
  return /^[a-z]+ /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}
