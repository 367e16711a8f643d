/** Entries of folders as the server lists them, and how they are shown. */

import { call } from "../common/api";

export interface Entry {
  name: string;
  path: string;
  type: "file" | "directory" | "symlink" | "fifo" | "socket" | "device" | "unknown";
  size: number;
  modified_ms: number;
  permissions: string;
  target: string | null;
  name_base64: string | null;
}

export interface FilePage {
  path: string;
  entries: Entry[];
  total: number;
  next_cursor: string | null;
}

export type Sort = "name" | "modified" | "size";

const PAGE_ENTRIES = 500;
const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"];

export function list(path: string, how: { sort: Sort; hidden: boolean }, cursor: string | null): Promise<FilePage> {
  return call<FilePage>("GET", "v1/files/list", {
    path,
    sort: how.sort,
    hidden: how.hidden,
    // The newest and the largest are looked for; of names the first.
    descending: how.sort !== "name",
    limit: PAGE_ENTRIES,
    ...(cursor && { cursor }),
  });
}

export function size(bytes: number): string {
  let unit = 0;
  let amount = bytes;
  while (amount >= 1000 && unit < UNITS.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  return `${unit && amount < 10 ? amount.toFixed(1) : Math.round(amount)} ${UNITS[unit]}`;
}

/** A time as exact as anybody asks: today's by the clock, others by the day. */
export function when(ms: number, now = new Date()): string {
  const then = new Date(ms);
  if (then.toDateString() === now.toDateString())
    return then.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  const year = then.getFullYear() === now.getFullYear() ? {} : ({ year: "numeric" } as const);
  return then.toLocaleDateString(undefined, { day: "numeric", month: "short", ...year });
}

export function join(folder: string, name: string): string {
  return folder.endsWith("/") ? folder + name : `${folder}/${name}`;
}

export function above(folder: string): string {
  return folder.replace(/\/[^/]*\/?$/, "") || "/";
}
