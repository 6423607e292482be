/** The door to time. Machines are told the time; only drivers look at the clock. */
export interface Clock {
  /** Milliseconds that never go back; for intervals and deadlines. The origin means nothing. */
  now(): number;
  /** Milliseconds since 1970; for what outlives the process. It may jump. */
  wall(): number;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
};

/** Returns the processor's time that this thread has used, in milliseconds, its system calls included. */
export function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/**
 * A clock for measuring between processes of one machine: the time of day to the microsecond. It does not follow
 * corrections of the system's clock while the process runs.
 */
export const fineClock: Clock = {
  now: () => performance.now(),
  wall: () => performance.timeOrigin + performance.now(),
};
