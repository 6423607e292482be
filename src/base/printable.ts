/**
 * Texts from outside made fit for a terminal and for a line of a log: client ids, topics, reasons and the like may
 * hold whatever Unicode has. Invariant: what is printed for people has passed here; payloads that a program asked for
 * have not.
 */

/**
 * Controls (C0, C1, ESC among them), format characters (bidi, zero width, tags), places among those that Unicode keeps
 * for more of them, line and paragraph separators, and halves of surrogate pairs.
 */
const unprintable = /[\p{Cc}\p{Cf}\u{2065}\u{e0000}-\u{e007f}\p{Zl}\p{Zp}\p{Cs}]/gu;
const named: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Returns a text with escapes for each character that could move the cursor, or hide or turn other text. */
export function printable(text: string): string {
  return text.replace(unprintable, (character) => {
    const code = character.codePointAt(0)!;
    const hex = code.toString(16);
    return named[character] ?? (code < 0x100 ? `\\x${hex.padStart(2, "0")}` : `\\u{${hex}}`);
  });
}

/** Returns lines made printable, with their line breaks and tabs: for a text that has many, and stands alone. */
export function printableLines(text: string): string {
  return text.replace(unprintable, (character) =>
    character === "\n" || character === "\t" ? character : printable(character),
  );
}

/** Returns JSON that means the same and holds no such characters: JSON itself escapes only some of them. */
export function printableJson(json: string): string {
  return json.replace(unprintable, (character) =>
    [...Array(character.length).keys()]
      .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

/** Returns a text of at most `max` characters, with a word on what is missing behind them. */
export function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}… (${text.length - max} more)`;
}
