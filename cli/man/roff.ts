/** Text as man(7) writes it: what troff would take for orders is taken from it. */

/** Returns text for the middle of a line. */
export function inline(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("'", "\\(aq").replaceAll("`", "\\(ga");
}

/** Returns text as lines of their own: none of them is an order. */
export function lines(text: string): string {
  return text
    .split("\n")
    .map((line) => inline(line).replace(/^\./, "\\&."))
    .join("\n");
}

/** Returns a paragraph whose lines stay as they are. */
export function asTyped(text: string): string {
  return `.nf\n${lines(text)}\n.fi\n`;
}
