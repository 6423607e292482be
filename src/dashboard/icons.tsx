/** The icons, drawn here: nothing is fetched for them. */
const paths = {
  now: "M3 12h4l3-8 4 16 3-8h4",
  clients: "M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8M2 21a7 7 0 0 1 14 0M17 4a4 4 0 0 1 0 7M22 21a7 7 0 0 0-4-6.300",
  topics: "M6 3v14a2 2 0 0 0 2 2h4M6 9h6M12 6h8v6h-8zM12 16h8v6h-8z",
  bank: "M3 10 12 4l9 6M5 10v8M10 10v8M14 10v8M19 10v8M3 21h18",
  refused: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M5.700 5.700l12.600 12.600",
  cluster: "M12 3v6M12 9l-7 6M12 9l7 6M9 3h6M2 15h6v6H2zM16 15h6v6h-6z",
  trace: "M4 19c6 0 4-14 10-14h6M17 2l3 3-3 3M4 19h.010",
  close: "M6 6l12 12M18 6 6 18",
  out: "M9 4H5v16h4M15 8l4 4-4 4M19 12H9",
  good: "M5 13l4 4L19 7",
  bad: "M12 8v5M12 16.500v.010M10.300 3.900 2.500 18a2 2 0 0 0 1.700 3h15.600a2 2 0 0 0 1.700-3L13.700 3.900a2 2 0 0 0-3.400 0z",
  next: "M9 5l7 7-7 7",
} as const;

export type IconName = keyof typeof paths;

/** Draws an icon; whoever cannot see it is told the words beside it. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}
