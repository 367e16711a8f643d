/**
 * The frames of an attached session as they go over the WebSocket: u8 type, u32 length of the payload, payload, all
 * big-endian (docs/protocol.md). A message may hold several; offsets are positions in the session's transcript.
 */

export type Frame =
  | { type: "output"; offset: number; data: Uint8Array }
  | { type: "snapshot"; offset: number; rows: number; cols: number; data: Uint8Array }
  | { type: "rendered"; offset: number; data: Uint8Array }
  | { type: "gap"; start: number; end: number }
  | { type: "resized"; rows: number; cols: number; rendered: boolean }
  | ({ type: "exited" } & Exit)
  | { type: "detached"; reason: string; text: string }
  | { type: "mode"; writer: boolean }
  | { type: "error"; code: string; message: string; hint: string | null }
  | { type: "marks"; marks: CommandMark[] }
  | { type: "ping"; token: Uint8Array }
  | { type: "pong"; token: Uint8Array };

/** A line of a snapshot, 0 being its first of all, in which a command or a prompt begins. */
export interface CommandMark {
  line: number;
  state: "prompt" | "running" | "done";
  exit_code: number | null;
}

/** How a program ended. */
export interface Exit {
  exit_code: number | null;
  exit_signal: string | null;
  exit_reason: string;
  end_offset: number;
  output_closed: boolean;
}

const HEAD_BYTES = 5;
// A message has at most 1 MiB (docs/websocket.md), and the peer closes on who sends more.
const MOST_INPUT_BYTES = 256 * 1024;
const INPUT = 0x01;
const RESIZE = 0x02;
const ACK = 0x03;
const DETACH = 0x04;
const PING = 0x21;
const PONG = 0x22;

/** The frames of one message. Frames of types we do not know are skipped; a message that is cut short throws. */
export function decode(message: ArrayBuffer): Frame[] {
  const frames: Frame[] = [];
  const view = new DataView(message);
  for (let start = 0; start < message.byteLength; ) {
    const type = view.getUint8(start);
    const size = view.getUint32(start + 1);
    start += HEAD_BYTES;
    if (start + size > message.byteLength) throw new RangeError("a frame is cut short");
    const frame = decodePayload(type, new DataView(message, start, size));
    if (frame) frames.push(frame);
    start += size;
  }
  return frames;
}

function decodePayload(type: number, view: DataView): Frame | null {
  switch (type) {
    case 0x11:
      return { type: "output", offset: offsetAt(view, 0), data: rest(view, 8) };
    case 0x12:
      return {
        type: "snapshot",
        offset: offsetAt(view, 0),
        rows: view.getUint16(8),
        cols: view.getUint16(10),
        data: rest(view, 12),
      };
    case 0x13:
      return { type: "rendered", offset: offsetAt(view, 0), data: rest(view, 8) };
    case 0x14:
      return { type: "gap", start: offsetAt(view, 0), end: offsetAt(view, 8) };
    case 0x15:
      return {
        type: "resized",
        rows: view.getUint16(0),
        cols: view.getUint16(2),
        rendered: view.byteLength > 4 && (view.getUint8(4) & 1) !== 0,
      };
    case 0x16:
      return { type: "exited", ...json<Exit>(view) };
    case 0x17:
      return { type: "detached", ...json<{ reason: string; text: string }>(view) };
    case 0x18:
      return { type: "mode", writer: view.getUint8(0) !== 0 };
    case 0x19:
      return { type: "error", ...json<{ code: string; message: string; hint: string | null }>(view) };
    case 0x1b:
      return { type: "marks", ...json<{ marks: CommandMark[] }>(view) };
    case PING:
      return { type: "ping", token: rest(view, 0) };
    case PONG:
      return { type: "pong", token: rest(view, 0) };
    default:
      return null;
  }
}

/** What was typed or pasted, in frames that are short enough for messages of their own. */
export function* inputs(data: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < data.length; at += MOST_INPUT_BYTES) yield frame(INPUT, data.subarray(at, at + MOST_INPUT_BYTES));
}

export function resize(rows: number, cols: number): Uint8Array {
  const payload = new DataView(new ArrayBuffer(4));
  payload.setUint16(0, rows);
  payload.setUint16(2, cols);
  return frame(RESIZE, new Uint8Array(payload.buffer));
}

export function ack(offset: number): Uint8Array {
  const payload = new DataView(new ArrayBuffer(8));
  payload.setBigUint64(0, BigInt(offset));
  return frame(ACK, new Uint8Array(payload.buffer));
}

export function detach(): Uint8Array {
  return frame(DETACH, new Uint8Array());
}

export function ping(token: Uint8Array): Uint8Array {
  return frame(PING, token);
}

export function pong(token: Uint8Array): Uint8Array {
  return frame(PONG, token);
}

function frame(type: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEAD_BYTES + payload.length);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(1, payload.length);
  bytes.set(payload, HEAD_BYTES);
  return bytes;
}

/** Offsets are 64 bits on the wire; a number holds 2^53, which is nine petabytes of output. */
function offsetAt(view: DataView, at: number): number {
  return Number(view.getBigUint64(at));
}

function rest(view: DataView, from: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + from, view.byteLength - from);
}

function json<T>(view: DataView): T {
  return JSON.parse(new TextDecoder().decode(view)) as T;
}
