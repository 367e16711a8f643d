/** Text with colours (SGR, ECMA-48 8.3.117) as elements; the server has left no other sequence in it. */

const NAMES = ["#4d5b66", "#d9534f", "#3fa36b", "#b98a1d", "#3d84d6", "#a35bd0", "#239ba0", "#9aa7b0"];
const BRIGHT = ["#7f8d98", "#ff7b72", "#56d38b", "#e3b341", "#6cb6ff", "#d2a8ff", "#56d4dd", "#ffffff"];

interface Style {
  color: string | null;
  background: string | null;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  strike: boolean;
  inverse: boolean;
}

const PLAIN: Style = {
  color: null,
  background: null,
  bold: false,
  dim: false,
  italic: false,
  underline: false,
  strike: false,
  inverse: false,
};

export class Colours {
  #style: Style = { ...PLAIN };

  /** Turn text into nodes; the style goes on from what came before. */
  render(text: string): Node[] {
    const nodes: Node[] = [];
    // A split with a group gives text and parameters in turn.
    // Going back to a line's start means nothing here.
    for (const [at, part] of text.replaceAll("\r", "").split(/\x1b\[([\d;:]*)m/).entries()) {
      if (at % 2) this.#apply(part.split(/[;:]/).map(Number));
      else if (part) nodes.push(this.#styled(part));
    }
    return nodes;
  }

  #styled(text: string): Node {
    const style = this.#style;
    if (Object.entries(PLAIN).every(([name, value]) => style[name as keyof Style] === value)) {
      return document.createTextNode(text);
    }
    const span = document.createElement("span");
    span.textContent = text;
    const [ink, ground] = style.inverse
      ? [style.background ?? "var(--ground)", style.color ?? "var(--text)"]
      : [style.color, style.background];
    // Set one by one: the policy forbids style attributes, not this.
    if (ink) span.style.color = ink;
    if (ground) span.style.background = ground;
    if (style.bold) span.style.fontWeight = "bold";
    if (style.dim) span.style.opacity = "0.7";
    if (style.italic) span.style.fontStyle = "italic";
    const lines = [style.underline && "underline", style.strike && "line-through"].filter(Boolean);
    if (lines.length) span.style.textDecoration = lines.join(" ");
    return span;
  }

  #apply(codes: number[]): void {
    for (let at = 0; at < codes.length; at++) {
      const code = codes[at] ?? 0;
      const style = this.#style;
      if (code === 0) this.#style = { ...PLAIN };
      else if (code === 1) style.bold = true;
      else if (code === 2) style.dim = true;
      else if (code === 3) style.italic = true;
      else if (code === 4) style.underline = true;
      else if (code === 7) style.inverse = true;
      else if (code === 9) style.strike = true;
      else if (code === 22) style.bold = style.dim = false;
      else if (code === 23) style.italic = false;
      else if (code === 24) style.underline = false;
      else if (code === 27) style.inverse = false;
      else if (code === 29) style.strike = false;
      else if (code >= 30 && code <= 37) style.color = NAMES[code - 30] ?? null;
      else if (code >= 90 && code <= 97) style.color = BRIGHT[code - 90] ?? null;
      else if (code >= 40 && code <= 47) style.background = NAMES[code - 40] ?? null;
      else if (code >= 100 && code <= 107) style.background = BRIGHT[code - 100] ?? null;
      else if (code === 39) style.color = null;
      else if (code === 49) style.background = null;
      else if (code === 38 || code === 48) {
        const [colour, used] = extended(codes.slice(at + 1));
        if (code === 38) style.color = colour;
        else style.background = colour;
        at += used;
      }
    }
  }
}

/** "5;n" or "2;r;g;b"; the colour and how many parameters it took. */
function extended([kind, ...rest]: number[]): [string | null, number] {
  const byte = (value: number | undefined) => Math.min(255, Math.max(0, value || 0));
  if (kind === 2) return [`rgb(${rest.slice(0, 3).map(byte).join(" ")})`, 4];
  if (kind !== 5) return [null, 1];
  const number = byte(rest[0]);
  if (number < 8) return [NAMES[number] ?? null, 2];
  if (number < 16) return [BRIGHT[number - 8] ?? null, 2];
  if (number >= 232) {
    const grey = 8 + (number - 232) * 10;
    return [`rgb(${grey} ${grey} ${grey})`, 2];
  }
  const level = (value: number) => (value ? 55 + value * 40 : 0);
  const cube = number - 16;
  return [`rgb(${level(Math.floor(cube / 36))} ${level(Math.floor(cube / 6) % 6)} ${level(cube % 6)})`, 2];
}
