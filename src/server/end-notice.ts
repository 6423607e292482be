/** When the operator is told that something ends, and that it has ended: not each time that it is looked at. */
import { revocationAlarmMs, revocationNoticeMs } from "../base/access-limits.ts";
import type { Clock } from "../base/clock.ts";

/** ending: it ends soon. over: it has ended. */
export type EndStage = "ending" | "over";

/** Something that is valid for a time. */
export interface Ending {
  /** Tells it from others that are looked at in its place. */
  readonly of: string;
  /** In ms since 1970. */
  readonly since: number;
  readonly end: number;
}

/** Decides when the end of one thing is told. */
export class EndNotice {
  readonly #clock: Clock;
  readonly #noticeMs: number;
  /** The stage that was told last, of what, and at what time of the clock. */
  #told: { readonly stage: EndStage; readonly of: string; readonly at: number } | undefined;

  /** `noticeMs`: how long before its end it is told, at most. */
  constructor(clock: Clock, noticeMs: number) {
    this.#clock = clock;
    this.#noticeMs = noticeMs;
  }

  /** Returns the stage that is to be told now; undefined: there is nothing to tell, or it was told a while ago. */
  look(ending: Ending | undefined): EndStage | undefined {
    const stage = ending && this.#stageOf(ending);
    if (stage === undefined) {
      this.#told = undefined;
      return undefined;
    }
    const of = `${ending!.of} ${ending!.end}`;
    const now = this.#clock.now();
    const pauseMs = stage === "over" ? revocationAlarmMs : revocationNoticeMs;
    const told = this.#told;
    if (told?.stage === stage && told.of === of && now < told.at + pauseMs) return undefined;
    this.#told = { stage, of, at: now };
    return stage;
  }

  /** A short-lived thing is renewed late, so a notice comes only when a quarter of its time is left. */
  #stageOf({ since, end }: Ending): EndStage | undefined {
    const wall = this.#clock.wall();
    if (wall >= end) return "over";
    return wall >= end - Math.min(this.#noticeMs, (end - since) / 4) ? "ending" : undefined;
  }
}
