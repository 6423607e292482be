/**
 * Answers over HTTP that go on: texts are sent as they come. A reader that takes them too slowly is ended, in words,
 * and so is everybody after a while: no more than `streamBytesMax` waits in memory for anybody.
 */
import { streamBeatMs, streamBytesMax, streamMs } from "../base/api-limits.ts";
import { encodeUtf8 } from "../base/bytes.ts";

/** An answer that goes on. */
export interface AnswerStream {
  /** Called once with what sends a text, and what ends it; returns what is called, once, when nothing more is sent. */
  readonly open: (send: (text: string) => void, end: (why: string) => void) => () => void;
  /** Bytes that may wait for its reader; undefined: `streamBytesMax`. */
  readonly bytesMax?: number | undefined;
  /** Sent when nothing else may be, so that it is seen who has gone. */
  readonly beat: string;
  /** Returns the last text, which says why there is an end. */
  readonly last: (why: string) => string;
}

/** Returns the body of an answer that goes on. */
export function bodyOfStream({
  open,
  beat,
  last,
  bytesMax = streamBytesMax,
}: AnswerStream): ReadableStream<Uint8Array> {
  let end = (): void => {};
  const source = {
    start(controller: ReadableStreamDefaultController<Uint8Array>) {
      let isOver = false;
      const finish = (why: string): void => {
        if (isOver) return;
        end();
        controller.enqueue(encodeUtf8(last(why)));
        controller.close();
      };
      const send = (text: string): void => {
        if (isOver) return;
        const bytes = encodeUtf8(text);
        if ((controller.desiredSize ?? 0) < bytes.length) finish("the reader is too slow: more has come than is kept");
        else controller.enqueue(bytes);
      };
      const beating = setInterval(() => send(beat), streamBeatMs);
      const patience = setTimeout(() => finish("its time is over: ask again"), streamMs);
      const gone = open(send, finish);
      end = () => {
        if (isOver) return;
        isOver = true;
        clearInterval(beating);
        clearTimeout(patience);
        gone();
      };
      // The head of the answer goes out with the first bytes.
      send(beat);
    },
    cancel: () => end(),
  };
  return new ReadableStream<Uint8Array>(source, new ByteLengthQueuingStrategy({ highWaterMark: bytesMax }));
}
