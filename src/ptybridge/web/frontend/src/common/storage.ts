/** What this browser remembers. Without storage (private windows may refuse it) everything works for the moment. */

const PREFIX = "ptybridge.";

export function recall(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

export function remember(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // Refused: then not.
  }
}

/** Remember something for this tab only. */
export function tabValue(name: string, make: () => string): string {
  try {
    let value = sessionStorage.getItem(PREFIX + name);
    if (value === null) sessionStorage.setItem(PREFIX + name, (value = make()));
    return value;
  } catch {
    return make();
  }
}
