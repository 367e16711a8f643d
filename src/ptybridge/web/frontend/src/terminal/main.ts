/** The terminal page: one session, live. */

import "../common/base.css";
import "./terminal.css";

import { ApiError, call, explain, sentence } from "../common/api";
import { CLIENT_ID } from "../common/client";
import { byId, setText } from "../common/dom";
import { followEvents } from "../common/events";
import { Drawer } from "../files/drawer";
import { size } from "../files/model";
import { type Session, label } from "../common/model";
import { oneAtATime } from "../common/one";
import { plain } from "../common/plain";
import { type Rights, rights } from "../common/rights";
import { followTheme } from "../common/theme";
import { toast } from "../common/toast";
import { Acks } from "./acks";
import { setBanner, showDetached, showEnd, showLost, showRefused } from "./banner";
import { addClipboard, copyShown, pasteClipboard, writeClipboard } from "./clipboard";
import { Feed } from "./feed";
import { type Exit, type Frame, inputs, resize } from "./frames";
import { addKeybar } from "./keybar";
import { addKeys } from "./keys";
import { Link } from "./link";
import { Marks } from "./marks";
import { addMenu, showHelp } from "./menu";
import { People } from "./people";
import { addQuestions } from "./questions";
import { Scrolling } from "./scrolling";
import { addSearch } from "./search";
import { type Size, Sizing } from "./size";
import { type View, changeFontSize, makeView, toggleScreenReader } from "./view";

const SKIPPED_MS = 8000;
const CONNECTED_MS = 2500;
// Keystrokes and pastes before the first connection; more is no typing.
const MOST_EARLY = 100;


class Page {
  readonly view: View;
  readonly sizing: Sizing;
  readonly feed: Feed;
  readonly link: Link;
  readonly people: People;
  readonly acks = new Acks((frame) => this.link.send(frame));
  #session: Session;
  #writer: boolean;
  #exit: Exit | null = null;
  #early: Uint8Array[] = [];
  #marks: Marks;
  #away = false;
  #told: Size | null = null;
  /** The session's size while another window has set it and we get pictures. */
  #others: Size | null = null;

  constructor(
    session: Session,
    readonly may: Rights,
    readonly watching: boolean,
  ) {
    this.#session = session;
    this.#writer = !watching;
    this.view = makeView(byId("terminal"));
    const whole = this.watching || session.window_size_policy === "manual";
    byId("terminal").classList.toggle("whole", whole);
    this.#marks = new Marks(this.view.terminal);
    this.sizing = new Sizing(this.view, byId("terminal"), session, whole);
    this.sizing.apply();
    this.people = new People(session, may, () => this.#focus());
    this.feed = new Feed(this.view.terminal, (offset) => this.acks.shown(offset));
    this.link = new Link(
      { sessionId: session.session_id, clientId: CLIENT_ID, viewer: this.watching, size: () => this.sizing.wanted() },
      {
        frame: (frame) => this.#receive(frame),
        open: (resumed) => this.#connected(resumed),
        attached: (writer) => this.#mayType(writer),
        lost: (retryAt) => {
          this.#away = true;
          showLost(retryAt, () => {
            this.link.retryNow();
            this.#focus();
          });
        },
        refused: (reason) => (this.#exit ? undefined : showRefused(reason)),
      },
    );
    this.#listen();
    this.showSession(session);
    this.link.connect();
  }

  showSession(session: Session): void {
    // What the program has printed as its title is known here before the daemon tells, and at the end the picture has it.
    const { title } = this.#session;
    this.#session = session;
    this.people.update(session);
    setText(byId("name"), label(session));
    byId("viewing").hidden = this.#writer;
    this.#showTitle(title);
  }

  #listen(): void {
    const { terminal, search } = this.view;
    const translate = addKeybar(byId("keybar"), terminal);
    const encoder = new TextEncoder();
    // Without a terminal between, nobody makes line ends of what Enter sends, or shows lines from the left.
    const pipes = this.#session.backend === "pipes";
    if (pipes) terminal.options.convertEol = true;
    const ends = (data: string) => (pipes ? data.replaceAll("\r", "\n") : data);
    terminal.onData((data) => this.#send(encoder.encode(ends(translate(data)))));
    // Mouse reports in the old encoding are bytes, not text.
    terminal.onBinary((data) => this.#send(Uint8Array.from(data, (character) => character.charCodeAt(0))));
    terminal.onTitleChange((title) => this.#showTitle(title));
    terminal.onBell(() => this.notice());
    const marks = this.#marks;
    const openSearch = addSearch(terminal, search);
    const fontSize = (by: number | null) => {
      terminal.options.fontSize = changeFontSize(by);
      this.#resized();
    };
    byId("find").addEventListener("click", openSearch);
    const screenReader = () => {
      const on = toggleScreenReader(terminal);
      toast(on ? "Screen readers can read the terminal now." : "The terminal is only drawn now.");
    };
    const files = this.#addFiles();
    addMenu({
      session: () => this.#session,
      watching: this.watching,
      refusal: (operation) => this.may.refusal(operation, this.#session),
      fontSize,
      screenReader,
      copy: () => void copyShown(terminal),
      paste: () => void pasteClipboard(terminal, this.#writer && !this.#exit),
      search: openSearch,
      files: () => files,
      focus: () => this.#focus(),
    });
    addKeys(terminal, {
      copy: () => {
        if (terminal.hasSelection()) void writeClipboard(terminal.getSelection());
      },
      search: openSearch,
      files: files ?? (() => toast("Your login does not allow looking at files.")),
      help: showHelp,
      fontSize,
      previousCommand: () => marks.go(-1),
      nextCommand: () => marks.go(1),
      over: () => this.#exit !== null,
    });
    addClipboard(
      terminal,
      byId("terminal"),
      () => this.#writer && !this.#exit,
      () => !this.watching && !this.#session.shared,
    );
    new Scrolling(terminal, byId("terminal"), () => this.#writer && !this.#exit);
    new ResizeObserver(() => this.#resized()).observe(byId("terminal"));
    // The dot of a notice goes when somebody has looked.
    addEventListener("focus", () => this.#showTitle(this.#session.title));
    // Who clicks beside the terminal goes on typing in it. (On a telephone that would bring up the keyboard.)
    addEventListener("click", (event) => {
      const mouse = event instanceof PointerEvent && event.pointerType === "mouse";
      if (mouse && document.activeElement === document.body && getSelection()?.isCollapsed) this.#focus();
    });
    terminal.focus();
  }

  /** The drawer, if this login may look at files; returns what opens and closes it. */
  #addFiles(): (() => void) | null {
    if (!this.may.may("file.list") || !this.may.may("file.read")) return null;
    const here = () => this.#session.current_cwd ?? this.#session.cwd;
    const drawer = new Drawer(this.may, here, () => this.#focus());
    const toggle = () => drawer.toggle();
    byId("files-button").hidden = false;
    byId("files-button").addEventListener("click", toggle);
    return toggle;
  }

  #focus(): void {
    const files = byId("files");
    if (!files.hidden && files.contains(document.activeElement)) return;
    if (!document.querySelector("dialog[open]") && !document.body.classList.contains("refused")) this.view.terminal.focus();
  }

  #send(data: Uint8Array): void {
    if (this.#exit || !data.length) return;
    if (!this.#writer) return toast(this.people.taken ? "Somebody else has the pen. You are watching." : "You are only watching.");
    if (this.link.connected) return this.#type(data);
    if (this.#away) return;
    // Typed while the page was still connecting: it comes a moment later.
    if (this.#early.length < MOST_EARLY) this.#early.push(data);
  }

  #type(data: Uint8Array): void {
    for (const frame of inputs(data)) this.link.send(frame);
  }

  #resized(): void {
    this.sizing.apply();
    this.#showOthers();
    const { rows, cols } = this.sizing.wanted();
    if (rows !== this.#told?.rows || cols !== this.#told.cols) this.#tellSize();
  }

  #tellSize(): void {
    const size = this.sizing.wanted();
    if (this.link.send(resize(size.rows, size.cols))) this.#told = size;
  }

  #connected(resumed: boolean): void {
    if (this.#away) {
      setBanner(resumed ? "Connected again; nothing was missed." : "Connected again.", { ms: CONNECTED_MS });
    }
    this.#away = false;
    this.#tellSize();
    for (const data of this.#early.splice(0)) this.#type(data);
  }

  #receive(frame: Frame): void {
    switch (frame.type) {
      case "output":
        this.link.offset = frame.offset + frame.data.length;
        return this.feed.write(frame.data, this.link.offset);
      case "snapshot":
        return this.#redraw(frame);
      case "marks":
        return this.feed.then(() => this.#marks.place(frame.marks));
      case "rendered":
        // A picture cannot be gone on from: after a loss the next one comes whole.
        this.link.offset = null;
        return this.feed.write(frame.data, frame.offset);
      case "gap":
        return setBanner(`${size(frame.end - frame.start)} of output skipped; this is how it stands now.`, { ms: SKIPPED_MS });
      case "resized":
        return this.#sessionResized(frame.rows, frame.cols, frame.rendered);
      case "mode":
        return this.#mayType(frame.writer);
      case "exited":
        return this.#ended(frame);
      case "detached":
        return this.#detached(frame.reason, frame.text);
      case "error":
        // The button in the header says who has it, and takes it over. Hints are for shells.
        if (frame.code === "lease_held") return toast("Somebody else has the pen. You are watching.");
        return toast(sentence(frame.message), "bad");
    }
  }

  #mayType(writer: boolean): void {
    this.#writer = writer;
    byId("viewing").hidden = writer;
  }

  #redraw(frame: Extract<Frame, { type: "snapshot" }>): void {
    this.link.offset = frame.offset;
    this.feed.drop();
    this.feed.then(() => {
      this.view.terminal.reset();
      this.#showTitle(""); // a picture names the title if there is one
    });
    this.feed.write(frame.data, frame.offset);
    // Until then our terminal's answers to queries in the history are dropped.
    this.feed.then(() => this.acks.now());
  }

  #sessionResized(rows: number, cols: number, rendered: boolean): void {
    const size = { rows, cols };
    this.feed.then(() => {
      this.sizing.session = size;
      this.sizing.output = rendered ? null : size;
      this.sizing.apply();
    });
    // As large as the session, scaled to the window: then the output itself comes, not a part of a picture.
    if (rendered && this.sizing.whole) return this.feed.then(() => this.#tellSize());
    this.#others = rendered ? size : null;
    this.#showOthers();
  }

  /** Say that the session has the size of another window, if it has. */
  #showOthers(): void {
    byId("cropped").hidden = this.#others === null;
    if (this.#others === null) return;
    const { rows, cols } = this.#others;
    const room = this.sizing.wanted();
    setText(byId("cropped-size"), `${cols}×${rows}`);
    setText(byId("cropped-how"), cols > room.cols || rows > room.rows ? ", shown in part" : ", by another window");
  }

  #ended(exit: Exit): void {
    this.#exit = exit;
    if (exit.output_closed) this.link.expectEnd();
    this.feed.then(() => {
      this.sizing.output = null; // nothing comes any more, and what is there fits itself to the window
      this.view.terminal.write("\x1b[?25l"); // no cursor: nothing can be typed
      this.#marks.end();
      showEnd(this.#session, exit, this.may.may("session.create"));
      this.notice();
    });
  }

  #detached(reason: string, text: string): void {
    this.link.end();
    if (!this.#exit) showDetached(text || `The reason is “${reason}”.`);
  }

  /** Something happened that a person in another tab may want to know. */
  notice(): void {
    if (document.hidden && !document.title.startsWith("● ")) document.title = `● ${document.title}`;
  }

  #showTitle(printed: string): void {
    const title = plain(printed);
    const name = label(this.#session);
    this.#session = { ...this.#session, title };
    setText(byId("title"), title === name ? "" : title);
    document.title = title && title !== name ? `${title} · ${name}` : name;
  }
}

async function main(): Promise<void> {
  followTheme();
  fitAboveKeyboard();
  const sessionId = decodeURIComponent(location.pathname.split("/").at(-1) ?? "");
  const get = () => call<Session>("GET", `v1/sessions/${encodeURIComponent(sessionId)}`, { detailed: false });
  let page: Page;
  try {
    const [session, may] = await Promise.all([get(), rights()]);
    const reason = may.refusal("session.write", session);
    const watching = new URLSearchParams(location.search).has("view") || reason !== null;
    document.body.classList.toggle("watching", watching);
    byId("viewing").title = reason ?? "";
    page = new Page(session, may, watching);
  } catch (error) {
    // What helps in a shell, its hint, does not help here.
    return showRefused(error instanceof ApiError ? error.message : explain(error));
  }
  const questions = addQuestions(page.may, () => page.notice());
  const refresh = oneAtATime(async () => {
    try {
      page.showSession(await get());
    } catch {
      // Closed meanwhile, or no connection: the link says so.
    }
  }, 100);
  const seen = new Set(["attached", "detached", "lease_changed", "updated", "exited", "gap"]);
  followEvents({
    event: (event) => {
      questions.event(event);
      const ours = event.session_id === null || event.session_id === sessionId;
      if (ours && seen.has(event.type)) void refresh();
    },
    open: () => {
      void questions.refresh();
      void refresh();
    },
    lost: () => undefined,
  });
}

/** On telephones the page ends where the on-screen keyboard begins. */
function fitAboveKeyboard(): void {
  const { visualViewport } = window;
  if (!visualViewport) return;
  const fit = () => document.body.style.setProperty("--height", `${visualViewport.height}px`);
  visualViewport.addEventListener("resize", fit);
  fit();
}

void main();
