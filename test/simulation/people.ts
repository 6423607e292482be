/** The clients of a wide world: who publishes, who reads, who shares, who tells whether it is there, who has habits. */
import { Actor, PublishingActor } from "./actors.ts";
import { BriefActor, lostToGroup, TimedHistory } from "./groups.ts";
import { FickleActor, FreshActor, ManyActor, SlumberActor, TidyActor } from "./habits.ts";
import type { Plan, Traits } from "./plan.ts";
import { StatusActor, StatusWatcher, untruePresence } from "./presence.ts";
import type { World } from "./world.ts";

export interface PeopleOptions {
  readonly world: World;
  readonly history: TimedHistory;
  readonly plan: Plan;
  /** True if brokers do not know the time exactly, all the while. */
  readonly areClocksWrong: boolean;
  /** True if some brokers are of format 1, which send a message twice that was refused at one of them. */
  readonly isMixed: boolean;
}

/** Messages of one publisher, about, however long the faults take. */
const messagesEach = 50;
/** Seconds that some messages, and some sessions, live. */
const shortSeconds = 2;
/** A brief session is promised what was settled so long before its end: that may have been on its way to the client. */
const briefGraceMs = 500;

export class People {
  readonly actors: readonly Actor[];
  readonly #options: PeopleOptions;
  readonly #publishers: readonly PublishingActor[];
  readonly #subscribers: readonly Actor[];
  readonly #visitors: readonly Actor[];
  readonly #members: readonly Actor[];
  readonly #brief: BriefActor;
  readonly #fresh: FreshActor;
  readonly #fickle: FickleActor;
  readonly #slumber: SlumberActor;
  readonly #tidy: TidyActor | undefined;
  /** A client whose session is over soon after its connection. */
  readonly #guest: Actor;
  readonly #devices: readonly StatusActor[];
  readonly #watcher: StatusWatcher;
  #isRestless = true;

  constructor(options: PeopleOptions) {
    const { world, history, plan } = options;
    this.#options = options;
    const { isPoor, filters, hasHabits, hasDevices, hasTidy } = plan.traits;
    const pace = Math.max(60, (2 * plan.totalMs) / messagesEach);
    const all = { world, history };
    const fleeting = new TimedHistory(() => world.now());
    const publishers = [1, 2, 1, 2].map(
      (qos, index) => new PublishingActor(`p${index + 1}`, { ...all, qos: qos as 1 | 2, pace }),
    );
    const hasty = { world, history: fleeting, qos: 1, pace, topic: "fleeting/p5", expiry: shortSeconds } as const;
    this.#publishers = [...publishers, ...(hasHabits ? [new PublishingActor("p5", hasty)] : [])];
    const narrow = { connection: { properties: { receiveMaximum: 2 } } };
    const { readsAtQoS1 } = plan.traits;
    this.#subscribers = ["s1", "s2", "visitor"].map(
      (name) => new Actor(name, { ...all, subscribe: "sim/#", ...(name === "s2" ? narrow : { readsAtQoS1 }) }),
    );
    this.#members = groupOf(plan.traits).map(
      (name) => new Actor(name, { ...all, subscribe: "$share/g/sim/#", isBrief: name === "g3" }),
    );
    this.#brief = new BriefActor("brief", { ...all, subscribe: "sim/#", isBrief: true });
    // At QoS 2: at QoS 1 what a publisher has sent twice may come late.
    this.#fresh = new FreshActor("fresh", { ...all, subscribe: "sim/p2" });
    this.#fickle = new FickleActor("fickle", { ...all, filter: "sim/p3" });
    const forMs = shortSeconds * 1000;
    this.#slumber = new SlumberActor("slumber", { world, history: fleeting, subscribe: "fleeting/#", forMs });
    this.#tidy = hasTidy ? new TidyActor("tidy", all) : undefined;
    const short = { connection: { sessionExpiryInterval: shortSeconds } };
    this.#guest = new Actor("guest", { ...all, ...short, subscribe: "guests/#" });
    const habits = [this.#brief, this.#fresh, this.#fickle, this.#slumber, this.#guest];
    const visitors = hasHabits ? [this.#slumber, this.#guest] : [];
    this.#visitors = [this.#subscribers[2]!, ...this.#members.slice(1, 2), ...visitors];
    // A poor bank refuses what they say.
    this.#devices = Array.from(
      { length: isPoor || !hasDevices ? 0 : 4 },
      (_, index) => new StatusActor(`d${index}`, { ...all, isBrief: index % 2 === 0, willDelay: index < 2 ? 0 : 2 }),
    );
    this.#watcher = new StatusWatcher("watcher", { ...all, subscribe: "status/#" });
    const many = filters > 0 ? [new ManyActor("many", { ...all, count: filters })] : [];
    const tidy = this.#tidy === undefined ? [] : [this.#tidy];
    const others = [
      ...(hasHabits ? habits : []),
      ...many,
      ...tidy,
      ...(this.#devices.length > 0 ? [this.#watcher] : []),
    ];
    this.actors = [...this.#publishers, ...this.#subscribers, ...this.#members, ...others, ...this.#devices];
  }

  begin(): void {
    for (const publisher of this.#publishers) {
      publisher.isBusy = true;
      publisher.work();
    }
    for (const publisher of this.#publishers) this.#wander(publisher, 4000);
    for (const device of this.#devices) this.#wander(device, 6000);
    for (const visitor of this.#visitors) this.#visit(visitor);
    if (this.#options.plan.traits.hasHabits) {
      this.#wander(this.#brief, 9000);
      this.#wander(this.#fresh, 4000);
      this.#change();
    }
    if (this.#tidy !== undefined) this.#clearUp(this.#tidy);
    if (this.#members[2] !== undefined) this.#wander(this.#members[2], 5000);
    for (const reader of this.#subscribers) this.#dawdle(reader);
  }

  /** Nobody begins anything new; some devices go for good. */
  settle(): void {
    const { random } = this.#options.world;
    this.#isRestless = false;
    for (const visitor of this.#visitors) visitor.isAway = false;
    for (const publisher of this.#publishers) publisher.isBusy = false;
    const [first, second] = this.#devices;
    const go = (device: StatusActor, how: "with a word" | "without a word"): void => {
      device.goForGood(how);
      if (!device.isAway) this.#options.world.after(100, () => go(device, how));
    };
    if (first !== undefined) this.#options.world.after(random.next() * 3000, () => go(first, "without a word"));
    if (second !== undefined) this.#options.world.after(random.next() * 3000, () => go(second, "with a word"));
  }

  /** Lets those go whose sessions are over soon. */
  sendGuestsHome(): void {
    this.#guest.isAway = true;
    this.#guest.leave();
  }

  get isAtRest(): boolean {
    // What is kept may be all that a poor bank can pay for, and who begins anew needs credits.
    const { isPoor } = this.#options.plan.traits;
    return (
      this.actors.every(({ up, isAway, isUnpaid }) => up || isAway || (isPoor && isUnpaid)) &&
      this.#publishers.every(({ isSettled }) => isSettled) &&
      this.#devices.every(({ isSettled }) => isSettled) &&
      this.#devices.slice(0, 2).every(({ isAway }) => isAway)
    );
  }

  states(): string {
    return this.actors
      .map(({ name, up, session }) => `${name}:${up ? "up" : "down"}:${session.outgoing.size}`)
      .join(" ");
  }

  /** Judges what they have got; `since`: everybody had subscribed. */
  wrong(since: number): string[] {
    const { world, history, plan, areClocksWrong, isMixed } = this.#options;
    const judgesBrief = plan.faults.every(({ deceivesClients }) => !deceivesClients);
    const areLinked = plan.faults.every(({ cutsLinks }) => !cutsLinks);
    const { hasJumps, hasDrops, hasBriefMember } = plan.traits;
    // What was on its way to members whose sessions have ended is owed to nobody.
    const memberSince = Math.max(since, ...this.#members.map(({ anewAt = 0 }) => anewAt));
    return [
      ...this.actors.flatMap(({ untold }) => untold),
      ...this.#subscribers.flatMap(({ name }) => history.judge(name)),
      ...(this.#members.length > 0
        ? lostToGroup(history, this.#members, { since: memberSince, isDoubtful: hasBriefMember })
        : []),
      // Whoever subscribes anew is handed what lies in mail drops.
      ...(hasDrops ? [] : this.#fresh.wrong),
      ...this.#fickle.missed(history, "p3"),
      ...(hasJumps || areClocksWrong ? [] : this.#slumber.wrong),
      ...(isMixed ? [] : this.#brief.twice),
      ...(judgesBrief ? this.#brief.missed(history, briefGraceMs) : []),
      ...untruePresence(world, this.#devices, areLinked ? this.#watcher : undefined),
      ...this.#overdue(),
    ];
  }

  /** Sessions that are over. */
  #overdue(): string[] {
    const { tree } = this.#options.world;
    const left = [...tree.nodes.keys()].filter((path) => /^\/sessions\/..\/guest$/.test(path));
    return this.#guest.isAway ? left.map((path) => `${path} is there, long after its time`) : [];
  }

  /** Changes brokers at once, now and then; the old one hears of it, or does not. */
  #wander(actor: Actor, everyMs: number): void {
    const { random } = this.#options.world;
    this.#later(500 + random.next() * everyMs, () => {
      if (random.next() < 0.4) actor.roam();
      else actor.hop();
      this.#wander(actor, everyMs);
    });
  }

  /** Comes and goes. */
  #visit(visitor: Actor): void {
    if (!this.#isRestless) return;
    visitor.isAway = !visitor.isAway;
    if (visitor.isAway) visitor.leave();
    const { random } = this.#options.world;
    const longest = visitor === this.#slumber ? 6000 : 600;
    const ms = visitor.isAway ? 100 + random.next() * longest : 400 + random.next() * 1500;
    this.#options.world.after(ms * this.#slowness, () => this.#visit(visitor));
  }

  /** Does not read for a while, now and then. */
  #dawdle(reader: Actor): void {
    const { random } = this.#options.world;
    this.#later(1000 + random.next() * 8000, () => {
      reader.dawdle(random.next() * 1500);
      this.#dawdle(reader);
    });
  }

  #change(): void {
    this.#fickle.change();
    this.#later(300 + this.#options.world.random.next() * 2500, () => this.#change());
  }

  #clearUp(tidy: TidyActor): void {
    tidy.tidy();
    this.#later(100 + this.#options.world.random.next() * 400, () => this.#clearUp(tidy));
  }

  /** Where the faults take minutes, people take their time. */
  #later(ms: number, run: () => void): void {
    this.#options.world.after(ms * this.#slowness, () => {
      if (this.#isRestless) run();
    });
  }

  get #slowness(): number {
    return Math.max(1, this.#options.plan.totalMs / 20_000);
  }
}

function groupOf({ hasGroup, hasBriefMember }: Traits): readonly string[] {
  if (!hasGroup) return [];
  return hasBriefMember ? ["g1", "g2", "g3"] : ["g1", "g2"];
}
