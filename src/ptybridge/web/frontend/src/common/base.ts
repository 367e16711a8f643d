/**
 * Where the server's paths begin. Scripts lie in `<base>/static/`, so the base is known without being told, whatever
 * path a proxy has put in front.
 */
export const BASE = new URL("..", import.meta.url);

/** The full address of a path of the server, given without a leading slash. */
export function address(path: string): URL {
  return new URL(path, BASE);
}

/** The same for a WebSocket. */
export function socketAddress(path: string): URL {
  const url = address(path);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}
