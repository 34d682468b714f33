import { StoreError } from "../blob-store.ts";
import { parseEndpoint, parseLocation } from "../location.ts";

export interface S3Location {
  readonly bucket: string;
  /** Empty, or with a closing `/`. */
  readonly prefix: string;
  /** `https://host:port` of a server that is not AWS. */
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  /** Bucket in the path (`https://host/bucket/key`) and not in the host's name. */
  readonly pathStyle: boolean;
}

/**
 * `s3://bucket/prefix?endpoint=https://host:port&region=NAME&style=path|host`. A server of one's own is
 * asked with the bucket in the path unless told otherwise, AWS with the bucket in the host's name.
 */
export function parseS3Location(location: string): S3Location {
  const { place, segments, options } = parseLocation(location, ["endpoint", "region", "style"]);
  const { endpoint, region, style } = options;
  if (style !== undefined && style !== "path" && style !== "host") {
    throw new StoreError("failed", `style is path or host, not ${JSON.stringify(style)}`);
  }
  if (region !== undefined && !/^[a-z0-9-]{1,50}$/i.test(region)) {
    throw new StoreError("failed", `${JSON.stringify(region)} is no name of a region`);
  }
  return {
    bucket: place,
    prefix: segments.map((segment) => `${segment}/`).join(""),
    endpoint: endpoint === undefined ? undefined : parseEndpoint(endpoint),
    region,
    pathStyle: style === undefined ? endpoint !== undefined : style === "path",
  };
}

/** The location as people and logs see it. */
export function formatS3Location({ bucket, prefix, endpoint, region }: S3Location): string {
  const query = new URLSearchParams({ ...(endpoint === undefined ? {} : { endpoint }), ...(region === undefined ? {} : { region }) });
  const path = `s3://${bucket}${prefix === "" ? "" : `/${prefix.slice(0, -1)}`}`;
  return query.size === 0 ? path : `${path}?${query.toString().replaceAll("%3A", ":").replaceAll("%2F", "/")}`;
}
