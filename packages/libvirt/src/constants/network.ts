// Values of libvirt 11.3.0's public headers; released ones never change.

/** Of `connectListAllNetworks`. */
export const ListNetworksFlags = {
  INACTIVE: 1,
  ACTIVE: 2,
  PERSISTENT: 4,
  TRANSIENT: 8,
  AUTOSTART: 16,
  NO_AUTOSTART: 32,
} as const;

/** Of `networkGetXmlDesc`. */
export const NetworkXmlFlags = {
  INACTIVE: 1,
} as const;

/** What `networkUpdate` does. */
export const NetworkUpdateCommand = {
  NONE: 0,
  MODIFY: 1,
  DELETE: 2,
  ADD_LAST: 3,
  ADD_FIRST: 4,
} as const;

/** What `networkUpdate` changes. */
export const NetworkUpdateSection = {
  NONE: 0,
  BRIDGE: 1,
  DOMAIN: 2,
  IP: 3,
  IP_DHCP_HOST: 4,
  IP_DHCP_RANGE: 5,
  FORWARD: 6,
  FORWARD_INTERFACE: 7,
  FORWARD_PF: 8,
  PORTGROUP: 9,
  DNS_HOST: 10,
  DNS_TXT: 11,
  DNS_SRV: 12,
} as const;

/** Of `networkUpdate`. */
export const NetworkUpdateFlags = {
  AFFECT_CURRENT: 0,
  AFFECT_LIVE: 1,
  AFFECT_CONFIG: 2,
} as const;

/** Kinds of network events. */
export const NetworkEventId = {
  LIFECYCLE: 0,
  METADATA_CHANGE: 1,
} as const;

/** `event` of a network's lifecycle event. */
export const NetworkEventLifecycle = {
  DEFINED: 0,
  UNDEFINED: 1,
  STARTED: 2,
  STOPPED: 3,
} as const;

/** Of `networkPortCreateXml`. */
export const NetworkPortCreateFlags = {
  RECLAIM: 1,
  VALIDATE: 2,
} as const;

/** Of `networkSetMetadata`. */
export const NetworkMetadataType = {
  DESCRIPTION: 0,
  TITLE: 1,
  ELEMENT: 2,
} as const;

/** `type` of an address of an interface or lease. */
export const IpAddressType = {
  IPV4: 0,
  IPV6: 1,
} as const;
