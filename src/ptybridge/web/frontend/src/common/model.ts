/** What the server tells about sessions; only the fields these pages use. */

export interface Attachment {
  attachment_id: string;
  client_id: string;
  mode: "writer" | "viewer";
  rows: number;
  cols: number;
}

export interface Lease {
  client_id: string | null;
  holder_gone: boolean;
}

export interface Session {
  session_id: string;
  name: string | null;
  tags: string[];
  backend: string;
  command: string[];
  cwd: string;
  current_cwd: string | null;
  running_command: string | null;
  shell_integration: "off" | "starting" | "prompt" | "running";
  state: string;
  exit_code: number | null;
  exit_signal: string | null;
  exit_reason: string | null;
  rows: number;
  cols: number;
  window_size_policy: "latest" | "smallest" | "largest" | "manual";
  title: string;
  created_at_ms: number;
  last_active_at_ms: number;
  exited_at_ms: number | null;
  waiting_for_input: boolean;
  clients: Attachment[];
  lease: Lease | null;
  shared: boolean;
  access: string;
  created_by: string;
}

/** An event of the daemon; `type` says which other fields there are. */
export interface DaemonEvent {
  type: string;
  number: number;
  time_ms: number;
  session_id: string | null;
  [field: string]: unknown;
}

/** How a session is called where there is room for one line. */
export function label(session: Pick<Session, "name" | "session_id" | "command">): string {
  return session.name ?? (commandLine(session) || session.session_id);
}

/** The command as somebody would type it; what runs through a shell as just the line that the shell got. */
export function commandLine({ command }: Pick<Session, "command">): string {
  if (command.length === 3 && command[1] === "-c") return command[2] ?? "";
  return command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
}

/** How it ended, in words. */
export function ending(exit: Pick<Session, "exit_code" | "exit_signal" | "exit_reason">): string {
  if (exit.exit_reason === "timeout") return "ended: its time was up";
  if (exit.exit_reason === "idle") return "ended: it was idle for too long";
  if (exit.exit_reason === "lost") return "lost";
  if (exit.exit_signal) return `killed by ${exit.exit_signal}`;
  return exit.exit_code === null ? "ended" : `exited with status ${exit.exit_code}`;
}
