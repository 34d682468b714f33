import { VaultError } from "../../errors.ts";

export type Period = "hourly" | "daily" | "weekly" | "monthly" | "yearly";
export const periods: readonly Period[] = ["hourly", "daily", "weekly", "monthly", "yearly"];

/** Names the hour, day, ISO week, month and year of moments as a wall clock of a time zone shows them. */
export class Calendar {
  readonly #format: Intl.DateTimeFormat;

  /** An IANA name: `Europe/Vienna`, `UTC`. Throws `invalid`. */
  constructor(timeZone: string) {
    try {
      const parts = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit" } as const;
      this.#format = new Intl.DateTimeFormat("en-US", {
        timeZone,
        calendar: "iso8601",
        hourCycle: "h23",
        ...parts,
        timeZoneName: "longOffset",
      });
    } catch (cause) {
      throw new VaultError("invalid", `there is no time zone ${timeZone}: use an IANA name such as Europe/Vienna`, { timeZone }, { cause });
    }
  }

  /** Equal for moments of the same period, and for people to read. */
  nameOf(period: Period, time: number): string {
    const parts = new Map(this.#format.formatToParts(time).map(({ type, value }) => [type, value]));
    const [year, month, day, hour] = ["year", "month", "day", "hour"].map((part) => parts.get(part as Intl.DateTimeFormatPartTypes) ?? "");
    switch (period) {
      case "hourly":
        // With the offset, as the hour in which clocks go back is there twice.
        return `${year}-${month}-${day} ${hour}:00 ${parts.get("timeZoneName") ?? ""}`;
      case "daily":
        return `${year}-${month}-${day}`;
      case "weekly":
        return isoWeek(Number(year), Number(month), Number(day));
      case "monthly":
        return `${year}-${month}`;
      case "yearly":
        return `${year}`;
    }
  }
}

/** A week belongs to the year that has its Thursday. */
function isoWeek(year: number, month: number, day: number): string {
  const date = new Date(Date.UTC(year, month - 1, day));
  date.setUTCDate(date.getUTCDate() + 4 - (date.getUTCDay() || 7));
  const first = Date.UTC(date.getUTCFullYear(), 0, 1);
  const week = Math.ceil(((date.getTime() - first) / 86_400_000 + 1) / 7);
  return `${date.getUTCFullYear()}-W${String(week).padStart(2, "0")}`;
}
