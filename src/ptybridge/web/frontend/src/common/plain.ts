/** Texts that programs choose, made safe to show as what they are. */

// Control characters, and those that turn the direction of what follows: a title could read as another's, and an
// address as leading elsewhere. (Unicode, Bidirectional Algorithm, 2)
const HARMFUL = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

export function plain(text: string): string {
  return text.replace(HARMFUL, "");
}
