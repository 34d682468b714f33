/** What the facts script prints on a host with a bond, a bridge over it, a VLAN and a container's veth (iproute2 6.1). */
export const factsText: string = [
  "@@ links",
  '[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},',
  '{"ifindex":2,"ifname":"ens1","flags":["BROADCAST","SLAVE","UP","LOWER_UP"],"mtu":9000,"master":"bond0","link_type":"ether","address":"02:00:00:00:00:01","permaddr":"02:00:00:00:00:02","addr_info":[]},',
  '{"ifindex":3,"ifname":"bond0","flags":["BROADCAST","MASTER","UP","LOWER_UP"],"mtu":9000,"master":"br0","link_type":"ether","address":"02:00:00:00:00:01","linkinfo":{"info_kind":"bond"},"addr_info":[]},',
  '{"ifindex":4,"ifname":"br0","flags":["BROADCAST","UP","LOWER_UP"],"mtu":9000,"link_type":"ether","address":"02:00:00:00:00:01","linkinfo":{"info_kind":"bridge"},"addr_info":[{"family":"inet","local":"10.0.0.7","prefixlen":24,"scope":"global"},{"family":"inet","local":"10.0.0.9","prefixlen":24,"scope":"global","secondary":true},{"family":"inet6","local":"fd00::7","prefixlen":64,"scope":"global","temporary":true},{"family":"inet6","local":"FE80::1","prefixlen":64,"scope":"link","dadfailed":true}]},',
  '{"ifindex":5,"link":"br0","ifname":"br0.20","flags":["BROADCAST"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:01","linkinfo":{"info_kind":"vlan"},"addr_info":[{}]},',
  "{},",
  '{"ifindex":6,"link_index":2,"ifname":"veth1","flags":["UP"],"mtu":1500,"link_netnsid":0,"link_type":"ether","address":"02:00:00:00:00:06","linkinfo":{"info_kind":"veth"},"addr_info":[]}]',
  "@@ routes",
  '[{"dst":"default","gateway":"10.0.0.1","dev":"br0","flags":[]}]',
  "@@ routes",
  '[{"dst":"default","nexthops":[{"gateway":"fe80::9","dev":"br0.20","weight":1},{"gateway":"fe80::8","dev":"br0"}]}]',
  "@@ speeds",
  "ens1 25000",
  "bond0 50000",
  "veth1 -1",
  "@@ rdma",
  "ens1",
  "@@ storage",
  "10.9.0.1",
  "fd00:0:0::5",
  "san.example",
  "@@ tools",
  "timeout",
  "bash",
  "@@ end",
  "",
].join("\n");

export const probeText: string = [
  "@@ routes",
  "10.0.0.2 dev eth0 src 10.0.0.1 uid 0 \\    cache ",
  "fd00::2 from :: dev eth0 proto kernel src fd00::1 metric 256 pref medium",
  "10.1.0.2 via 10.0.0.254 dev eth0 src 10.0.0.1 uid 0 \\    cache ",
  "@@ answers",
  "2 none timeout -",
  "0 ping - yes",
  "1 refused silent -",
  "@@ neighbours",
  "10.0.0.2 dev eth0 lladdr 02:00:00:00:00:02 REACHABLE ",
  "fd00::2 dev eth0 lladdr 02:00:00:00:00:03 router STALE ",
  "10.0.0.9 dev eth0  FAILED ",
  "@@ end",
  "",
].join("\n");

export const probeDestinations: readonly string[] = ["10.0.0.2", "fd00::2", "10.1.0.2"];

export const countersText: string = [
  "2704.67",
  "Inter-|   Receive                                                |  Transmit",
  " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed",
  "    lo:    3193      41    0    0    0     0          0         0     3193      41    0    0    0     0       0          0",
  "eth0.20: 550007441 1 0 0 0 0 0 0 1153718 2 0 0 0 0 0 0",
  "",
].join("\n");
