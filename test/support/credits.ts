/** Prices for tests of the bank, and banks that are nearly empty. */
import { expect } from "bun:test";
import { Accounts } from "../../src/bank/accounts.ts";
import { milli, type Quoted, quoteOf } from "../../src/bank/price.ts";
import { defaultOptions } from "../../src/broker/core/options.ts";
import type { DeliveryContext } from "../../src/broker/delivery/delivery-context.ts";
import { eventually } from "./broker.ts";
import type { RawClient } from "./raw-client.ts";

/** Returns the price of a copy of a message, in credits, as `quoteOf` says; with the default options. */
export function creditsOf(bytes: number, asked: Quoted): number {
  const { bankTtlMin, bankTtlMax, bankTtl } = defaultOptions;
  const pricing = { ttlMinMs: bankTtlMin * 1000, ttlMaxMs: bankTtlMax * 1000, ttl: bankTtl };
  return quoteOf(bytes, asked, pricing) / milli;
}

/** Leaves the bank of a broker that is alone so many credits, whatever is bound. */
export async function leaveCredits(context: DeliveryContext, credits: number): Promise<void> {
  const { coordinator, bankAccount, journal, options } = context;
  const accounts = new Accounts(coordinator);
  const { account } = bankAccount;
  const left = credits * milli;
  const isLeft = (): boolean => account.free + bankAccount.vault === left;
  const lower = async (): Promise<boolean> => {
    // What it commits now may be paid for until then, as what stands there already is.
    await new Promise<void>((done) => journal.drained(done));
    if (isLeft()) return true;
    const standing = await new Promise<{ grant: number; vault: number } | undefined>((done) =>
      accounts.move(options.id, account.bound - account.grant, done),
    );
    const free = standing!.grant - account.bound + standing!.vault;
    await new Promise((done) => accounts.changeCapital(left - free, { asFarAs: "possible" }, done));
    await Bun.sleep(200);
    return isLeft();
  };
  await eventually(lower, `the bank has ${credits} credits left`, 60_000);
}

/** Publishes one-kilobyte retained messages until one is refused; returns how many were taken, and the refusal. */
export async function fill(client: RawClient, topic: string): Promise<{ taken: number; why: string }> {
  for (let number = 1; ; number++) {
    client.publish(`${topic}/${number}`, "x".repeat(1000), { qos: 1, messageId: number, retain: true });
    const { reasonCode, properties } = await client.take("puback");
    if (reasonCode < 0x80) continue;
    expect(reasonCode).toBe(0x97);
    return { taken: number - 1, why: properties.reasonString };
  }
}
