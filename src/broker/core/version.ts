/** The version, from the one place where it is written. */
import manifest from "../../../package.json" with { type: "json" };

/** The version of MQTTZoo, such as "1.0.0". */
export const version: string = manifest.version;
