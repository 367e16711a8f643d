/**
 * A look at a file: text as text, pictures as pictures. Nothing of a file is ever a document here: HTML and SVG are
 * shown as the text they are.
 */

import { Unreachable, call, goToLogin, refusal } from "../common/api";
import { address } from "../common/base";
import { tell } from "../common/dialog";
import { h } from "../common/dom";
import { type Entry, size } from "./model";

const PICTURES: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  gif: "image/gif",
  webp: "image/webp",
  avif: "image/avif",
  bmp: "image/bmp",
  ico: "image/x-icon",
};
const PICTURE_BYTES = 32 << 20;
const TEXT_BYTES = 256 << 10;

interface FileRange {
  data: string;
  lossy: boolean;
  eof: boolean;
  size: number;
  next_offset: number;
}

/** Show it until it is closed. Throws what the server says. */
export async function preview(entry: Entry, download: () => void): Promise<void> {
  const kind = PICTURES[entry.name.split(".").at(-1)?.toLowerCase() ?? ""];
  const body = kind && entry.size <= PICTURE_BYTES ? await picture(entry, kind) : await text(entry);
  const save = h("button", { type: "button", onclick: download }, "Download");
  await tell(entry.name, h("div", { class: "preview" }, body.shown, h("p", { class: "hint" }, body.about)), save);
  body.done();
}

interface Shown {
  shown: Node;
  about: string;
  done: () => void;
}

async function text(entry: Entry): Promise<Shown> {
  const found = await call<FileRange>("GET", "v1/files/read", { path: entry.path, max_bytes: TEXT_BYTES });
  const done = () => undefined;
  if (!found.size) return { shown: h("p", { class: "hint" }, "This file is empty."), about: "0 B", done };
  // A NUL, or bytes that are no UTF-8: whoever wants to see that has a program for it.
  if (found.lossy || found.data.includes("\0"))
    return { shown: h("p", { class: "hint" }, "This is neither text nor a picture."), about: size(found.size), done };
  const shown = h("pre", { tabindex: 0, autofocus: true }, found.data);
  const about = found.eof ? size(found.size) : `the first ${size(found.next_offset)} of ${size(found.size)}`;
  return { shown, about, done };
}

async function picture(entry: Entry, type: string): Promise<Shown> {
  const url = address("v1/files/content");
  url.searchParams.set("path", entry.path);
  const response = await fetch(url, { credentials: "same-origin" }).catch(() => {
    throw new Unreachable();
  });
  if (response.status === 401) goToLogin();
  if (!response.ok) throw refusal(response.status, await response.text());
  // The type is ours, whatever the file says of itself, and <img> runs nothing.
  const source = URL.createObjectURL(new Blob([await response.arrayBuffer()], { type }));
  const image = h("img", { src: source, alt: entry.name });
  const about = await image.decode().then(
    () => `${image.naturalWidth}×${image.naturalHeight}, ${size(entry.size)}`,
    () => null,
  );
  const done = () => URL.revokeObjectURL(source);
  if (about === null) return { shown: h("p", { class: "hint" }, "The browser cannot show this picture."), about: size(entry.size), done };
  return { shown: image, about, done };
}
