export { formatS3Location, parseS3Location, type S3Location } from "./s3-location.ts";
export { S3Store, type S3StoreOptions } from "./s3-store.ts";
