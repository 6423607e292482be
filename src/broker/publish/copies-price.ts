/**
 * The price of all copies of a publish that may have to be stored, each with its slip. What depends on the route alone
 * is remembered with it, so that a publish costs two additions.
 */
import { placeOfTopic, type TopicPlace } from "../../coordinator/weight.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { DeliveryContext } from "../delivery/delivery-context.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterRoute } from "../peers/cluster-context.ts";
import { isPeer, type Remote } from "../peers/peer.ts";
import { isRemoteSession } from "../peers/remote-session.ts";

/** A publish on its route, and how many copies of it may have to be stored. */
interface Copies {
  readonly publish: Publish;
  readonly route: ClusterRoute;
  readonly copies: number;
}

/** Returns the levels of a route's topic in the store. */
export function placeOf(route: ClusterRoute): TopicPlace {
  route.place ??= placeOfTopic(route.topic);
  return route.place;
}

/** Returns the price of all copies, in milli-credits: with a slip for each receiver that outlives its connection. */
export function copiesPriceOf({ bankAccount }: DeliveryContext, { publish, route, copies }: Copies): number {
  const place = placeOf(route);
  route.slipsWeight ??= slipsWeightOf(route, (id, ids) => bankAccount.prices.slipWeightOf(place, id, ids));
  return copies * bankAccount.termsOf(publish, "mailbox", place).credits + bankAccount.priceOf(route.slipsWeight);
}

type WeightOf = (clientId: string, subscriptionIds: readonly number[]) => number;

/** Returns the weight of a slip for each receiver; of a group, for the member whose slip weighs most. */
function slipsWeightOf({ targets, elsewhere, groups }: ClusterRoute, weightOf: WeightOf): number {
  let weight = 0;
  for (const { subscriber, subscriptionIds } of [...targets, ...elsewhere]) {
    const clientId = persistentIdOf(subscriber);
    if (clientId !== undefined) weight += weightOf(clientId, subscriptionIds);
  }
  for (const { members } of groups) {
    let most = 0;
    for (const [member, { id }] of members) {
      const clientId = persistentIdOf(member);
      if (clientId !== undefined) most = Math.max(most, weightOf(clientId, [id]));
    }
    weight += most;
  }
  return weight;
}

/** Returns the client id of a session that outlives its connection; undefined for any other, or a broker. */
function persistentIdOf(subscriber: LocalSession | Remote): string | undefined {
  if (isPeer(subscriber)) return undefined;
  if (isRemoteSession(subscriber)) return subscriber.clientId;
  return subscriber.mailbox === undefined ? undefined : subscriber.session.clientId;
}
