/**
 * Sends a file up: from the disk, never whole in memory, going on where it was cut off.
 *
 * Its name for the server is made from what it is and where it goes, so the same file dropped again after the page was
 * closed goes on, too. What has arrived the server tells in the error `conflict`; a question that cannot be right asks
 * for it. Parts need the checksum of the whole, which is only computed then.
 */

import { ApiError, Unreachable, goToLogin, refusal } from "../common/api";
import { address } from "../common/base";
import { Sha256 } from "./sha256";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const READ_BYTES = 4 << 20;
// From here on it is worth asking whether a part of it is there already.
const ASK_FROM_BYTES = 1 << 20;
// No upload has this offset, so the answer is always the one that is there.
const NOWHERE = Number.MAX_SAFE_INTEGER;

export interface Upload {
  /** The folder it goes to, and where below that. */
  folder: string;
  name: string;
  file: File;
  overwrite: boolean;
  signal: AbortSignal;
  /** Bytes that have gone, and whether it waits to go on. */
  progress: (bytes: number, waiting: boolean) => void;
}

/** Send it; returns when it is stored. Throws what the server says, or `AbortError`. */
export async function upload(what: Upload): Promise<void> {
  const { file, signal } = what;
  const id = await nameOf(what);
  let digest = "";
  let at = 0;
  let ask = file.size >= ASK_FROM_BYTES;
  for (let attempt = 0; ; attempt++) {
    try {
      if (ask) at = await arrived(what, id);
      ask = false;
      if (at && !digest) digest = await digestOf(file, signal);
      const body = at ? file.slice(at) : file;
      return await put(what, id, body, at ? { at, digest } : null);
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof ApiError && error.code === "conflict" && typeof error.data["offset"] === "number") {
        at = error.data["offset"];
        if (attempt > 100) throw error;
        continue;
      }
      const again = error instanceof Unreachable || (error instanceof ApiError && error.retryable);
      if (!again) throw error;
      what.progress(at, true);
      ask = true;
      await pause(Math.min(FIRST_WAIT_MS * 2 ** Math.min(attempt, 8), LONGEST_WAIT_MS), signal);
    }
  }
}

async function arrived(what: Upload, id: string): Promise<number> {
  try {
    await put(what, id, null, { at: NOWHERE, digest: btoa("\0".repeat(32)) });
  } catch (error) {
    if (error instanceof ApiError && error.code === "conflict" && typeof error.data["offset"] === "number")
      return error.data["offset"];
    throw error;
  }
  return 0;
}

function put(what: Upload, id: string, body: Blob | null, part: { at: number; digest: string } | null): Promise<void> {
  const url = address("v1/files/content");
  const query = { path: what.name, cwd: what.folder, upload_id: id, overwrite: what.overwrite, create_parents: true };
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  return new Promise((resolve, reject) => {
    // fetch() does not tell how much of a body has gone.
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    const over = (act: () => void) => {
      what.signal.removeEventListener("abort", stop);
      act();
    };
    request.open("PUT", url);
    request.setRequestHeader("X-Ptybridge", "1");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    if (part) {
      const { size } = what.file;
      request.setRequestHeader("Content-Range", `bytes ${part.at}-${Math.max(part.at, size - 1)}/${size}`);
      request.setRequestHeader("Repr-Digest", `sha-256=:${part.digest}:`);
    }
    if (body) request.upload.addEventListener("progress", ({ loaded }) => what.progress((part?.at ?? 0) + loaded, false));
    request.addEventListener("load", () =>
      over(() => {
        if (request.status < 300) return resolve();
        if (request.status === 401) goToLogin();
        reject(refusal(request.status, request.responseText));
      }),
    );
    request.addEventListener("error", () => over(() => reject(new Unreachable())));
    request.addEventListener("abort", () => over(() => reject(new DOMException("stopped", "AbortError"))));
    what.signal.addEventListener("abort", stop);
    if (what.signal.aborted) stop();
    else request.send(body);
  });
}

async function digestOf(file: File, signal: AbortSignal): Promise<string> {
  const hash = new Sha256();
  for (let at = 0; at < file.size; at += READ_BYTES) {
    signal.throwIfAborted();
    hash.update(new Uint8Array(await file.slice(at, at + READ_BYTES).arrayBuffer()));
  }
  return btoa(String.fromCharCode(...hash.digest()));
}

async function nameOf({ folder, name, file }: Upload): Promise<string> {
  const hash = new Sha256();
  hash.update(new TextEncoder().encode([folder, name, file.size, file.lastModified].join("\0")));
  return [...hash.digest().slice(0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
