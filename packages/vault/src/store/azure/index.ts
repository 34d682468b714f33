export { azureAccess, type AzureLocation, formatAzureLocation, parseAzureLocation } from "./azure-location.ts";
export { AzureStore, type AzureStoreOptions } from "./azure-store.ts";
