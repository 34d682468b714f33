import { Cron } from "croner";
import { EngineError } from "../../model/errors.ts";

export const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
export type Weekday = (typeof weekdays)[number];

/** Hours of the day in which captures may run, such as 22:00 to 06:00: past midnight when `to` is not after `from`. */
export interface RunWindow {
  /** The days on which it begins; every day when absent. */
  readonly days?: readonly Weekday[] | undefined;
  /** `HH:MM`, in the schedule's time zone. */
  readonly from: string;
  readonly to: string;
}

/** How fast the captures of a group may read together. The first rule whose hours it is counts; one without hours always. */
export interface BandwidthRule {
  readonly bytesPerSecond: number;
  readonly hours?: RunWindow | undefined;
}

/** When a group's VMs are due. One of `cron` and `everyMinutes`, or neither: by hand only. */
export interface Schedule {
  /** Five fields as in crontab(5); several for several times a day. */
  readonly cron?: readonly string[] | undefined;
  /** Counted from midnight UTC of 1970-01-01, so that every server and restart agree. */
  readonly everyMinutes?: number | undefined;
  /** An IANA name, such as `Europe/Vienna`. */
  readonly timeZone: string;
  /** Outside of them nothing starts; what runs goes on to its end. Always, when there are none. */
  readonly windows?: readonly RunWindow[] | undefined;
}

const minuteMs = 60_000;
const slowestRate = 1_000_000;
const dayMinutes = 24 * 60;

/** Throws `invalid`, naming the field and the way out. */
export function checkSchedule(schedule: Schedule): void {
  const { cron, everyMinutes, timeZone, windows } = schedule;
  if (cron && everyMinutes !== undefined) throw invalid("give either cron or everyMinutes, not both");
  if (everyMinutes !== undefined && !(Number.isInteger(everyMinutes) && everyMinutes >= 1 && everyMinutes <= 31 * dayMinutes))
    throw invalid(`everyMinutes is a whole number from 1 to ${31 * dayMinutes}, not ${everyMinutes}`);
  try {
    Intl.DateTimeFormat("en", { timeZone });
  } catch {
    throw invalid(`'${timeZone}' is no time zone: use an IANA name such as Europe/Vienna, or UTC`);
  }
  for (const line of cron ?? []) {
    const cause = whyNotCron(line, timeZone);
    if (cause !== undefined) throw invalid(`'${line}' is no cron line (${cause}): five fields, such as '0 1 * * mon-fri'`);
  }
  for (const window of windows ?? []) checkWindow(window);
}

function whyNotCron(line: string, timeZone: string): string | undefined {
  try {
    const next = new Cron(line, { timezone: timeZone, mode: "5-part" }).nextRun(new Date(0));
    return next ? undefined : "it never comes";
  } catch (error) {
    return (error as Error).message;
  }
}

/** Throws `invalid`. */
export function checkBandwidth(rules: readonly BandwidthRule[]): void {
  for (const { bytesPerSecond, hours } of rules) {
    if (!(Number.isInteger(bytesPerSecond) && bytesPerSecond >= slowestRate))
      throw invalid(
        `captures may read ${slowestRate} bytes a second at least, not ${bytesPerSecond}: one that crawls holds its scratch space`,
      );
    if (hours) checkWindow(hours);
  }
}

function checkWindow({ from, to, days }: RunWindow): void {
  for (const time of [from, to]) if (!/^([01]\d|2[0-3]):[0-5]\d$/.test(time)) throw invalid(`'${time}' is no time of day: write 22:00`);
  if (days?.length === 0) throw invalid("hours without a day never come: leave the days out for every day");
  for (const day of days ?? []) if (!weekdays.includes(day)) throw invalid(`'${day as string}' is no day: one of ${weekdays.join(", ")}`);
}

function invalid(text: string): EngineError {
  return new EngineError("invalid", `schedule: ${text}`);
}

/** The first moment after `after` at which it is due, milliseconds since the epoch. Undefined: by hand only. */
export function nextDue({ cron, everyMinutes, timeZone }: Schedule, after: number): number | undefined {
  if (everyMinutes !== undefined) {
    const step = everyMinutes * minuteMs;
    return (Math.floor(after / step) + 1) * step;
  }
  const times = (cron ?? []).flatMap((line) => {
    const next = new Cron(line, { timezone: timeZone, mode: "5-part" }).nextRun(new Date(after));
    return next ? [next.getTime()] : [];
  });
  return times.length > 0 ? Math.min(...times) : undefined;
}

/**
 * The last moment at or before `now`, and after `since`, at which it was due. However many were missed in
 * between, there is one answer: a server that was down makes one run up, not all of them.
 */
export function lastDue(schedule: Schedule, since: number, now: number): number | undefined {
  if (since >= now) return undefined;
  if (schedule.everyMinutes !== undefined) {
    const step = schedule.everyMinutes * minuteMs;
    const last = Math.floor(now / step) * step;
    return last > since ? last : undefined;
  }
  const [last] = (schedule.cron ?? [])
    .flatMap((line) => new Cron(line, { timezone: schedule.timeZone, mode: "5-part" }).previousRuns(1, new Date(now + 1)))
    .map((date) => date.getTime())
    .filter((time) => time > since && time <= now)
    .toSorted((a, b) => b - a);
  return last;
}

/** Whether captures may run now. */
export function inWindow({ windows, timeZone }: Schedule, at: number): boolean {
  if (!windows || windows.length === 0) return true;
  const { day, minute } = localTime(at, timeZone);
  return windows.some((window) => holds(window, day, minute));
}

/** Bytes a second that the rules allow now; undefined: as fast as it goes. */
export function rateNow(rules: readonly BandwidthRule[], timeZone: string, at: number): number | undefined {
  const { day, minute } = localTime(at, timeZone);
  return rules.find(({ hours }) => hours === undefined || holds(hours, day, minute))?.bytesPerSecond;
}

/** The next moment at which a window opens, to the minute; `at` itself while one is open. At most eight days on. */
export function nextOpening(schedule: Schedule, at: number): number | undefined {
  if (inWindow(schedule, at)) return at;
  const { windows = [], timeZone } = schedule;
  const begin = (Math.floor(at / minuteMs) + 1) * minuteMs;
  let local = localTime(begin, timeZone).minute;
  for (let hour = begin; hour < at + 8 * dayMinutes * minuteMs; hour += hourMinutes * minuteMs) {
    const after = localTime(hour + hourMinutes * minuteMs, timeZone).minute;
    // Asking for the local time is slow: only minutes that may open a window are looked at, unless the clocks change.
    const even = minutesFrom(local, after) === hourMinutes;
    const opens = even ? [0, ...windows.map(({ from }) => minutesFrom(local, minutesOf(from)))] : everyMinute;
    for (const minute of opens.filter((one) => one < hourMinutes).toSorted((a, b) => a - b))
      if (inWindow(schedule, hour + minute * minuteMs)) return hour + minute * minuteMs;
    local = after;
  }
  return undefined;
}

const hourMinutes = 60;
const everyMinute = Array.from({ length: hourMinutes }, (_, minute) => minute);

function minutesFrom(from: number, to: number): number {
  return (to - from + dayMinutes) % dayMinutes;
}

function holds({ days, from, to }: RunWindow, day: number, minute: number): boolean {
  const [begin, end] = [minutesOf(from), minutesOf(to)];
  const on = (index: number): boolean => !days || days.includes(weekdays[(index + 7) % 7]!);
  if (begin < end) return on(day) && minute >= begin && minute < end;
  return (on(day) && minute >= begin) || (on(day - 1) && minute < end);
}

function minutesOf(time: string): number {
  const [hours = 0, minutes = 0] = time.split(":").map(Number);
  return hours * 60 + minutes;
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** Weekday (0 is Monday) and minute of the day in a time zone. */
function localTime(at: number, timeZone: string): { readonly day: number; readonly minute: number } {
  const known = formats.get(timeZone);
  const format =
    known ?? new Intl.DateTimeFormat("en-GB", { timeZone, weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  if (!known) formats.set(timeZone, format);
  const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
  const day = weekdays.indexOf((parts["weekday"] ?? "").toLowerCase() as Weekday);
  return { day, minute: Number(parts["hour"]) * 60 + Number(parts["minute"]) };
}
