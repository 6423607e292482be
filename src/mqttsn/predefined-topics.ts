/**
 * Topics whose ids clients and broker know beforehand (6.6), from the operator's file. A line is `CLIENT,TOPIC,ID`, as
 * the Paho gateway has them; `*` stands for all clients, `#` begins a comment.
 */
import { encodeUtf8 } from "../base/bytes.ts";
import { OperatingError } from "../base/errors.ts";
import { isTopicName } from "../mqtt/topic.ts";

export interface PredefinedTopic {
  readonly id: number;
  readonly topic: string;
  readonly bytes: Uint8Array;
}

interface Table {
  readonly byId: Map<number, PredefinedTopic>;
  readonly byTopic: Map<string, PredefinedTopic>;
}

const everybody = "*";

export class PredefinedTopics {
  #tables = new Map<string, Table>();

  /** Takes the place of what was read before. Throws `OperatingError` (EUSAGE) that names the line that is wrong. */
  load(text: string): void {
    const tables = new Map<string, Table>();
    text.split("\n").forEach((line, index) => {
      const trimmed = line.trim();
      if (trimmed !== "" && !trimmed.startsWith("#")) readLine(tables, trimmed, index + 1);
    });
    this.#tables = tables;
  }

  /** Returns the topic that an id stands for with a client; undefined: it stands for none. */
  topicOf(clientId: string, id: number): PredefinedTopic | undefined {
    return this.#tables.get(clientId)?.byId.get(id) ?? this.#tables.get(everybody)?.byId.get(id);
  }

  /** Returns the predefined id of a topic with a client. */
  find(clientId: string, topic: string): PredefinedTopic | undefined {
    const own = this.#tables.get(clientId)?.byTopic.get(topic);
    if (own !== undefined) return own;
    const common = this.#tables.get(everybody)?.byTopic.get(topic);
    // The client may have another topic under that id.
    return common !== undefined && this.topicOf(clientId, common.id) === common ? common : undefined;
  }
}

function readLine(tables: Map<string, Table>, line: string, number: number): void {
  const first = line.indexOf(",");
  const last = line.lastIndexOf(",");
  const wrong = (why: string): never => {
    throw new OperatingError("EUSAGE", `line ${number} of the predefined topics: ${why}; write CLIENT,TOPIC,ID`);
  };
  if (first === -1 || first === last) wrong("it has not three parts");
  const clientId = line.slice(0, first).trim();
  const topic = line.slice(first + 1, last).trim();
  const id = Number(line.slice(last + 1).trim());
  if (clientId === "") wrong("it names no client; * stands for all");
  if (!isTopicName(topic)) wrong("a topic without wildcards is needed");
  if (!Number.isInteger(id) || id < 1 || id > 0xfffe) wrong("an id from 1 to 65534 is needed");
  const table = tables.get(clientId) ?? { byId: new Map(), byTopic: new Map() };
  tables.set(clientId, table);
  if (table.byId.has(id)) wrong(`the id ${id} is given twice`);
  const predefined = { id, topic, bytes: encodeUtf8(topic) };
  table.byId.set(id, predefined);
  table.byTopic.set(topic, predefined);
}
