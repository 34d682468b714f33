// Prints every domain's name, state and XML, as a stranger's program would: on the package as it is published.
//   node list-domains.mjs URI each|together [ROUNDS]
// With ROUNDS it does so again and again on one connection, and says on stderr how many milliseconds each took.
import { connect, DomainStatsTypes } from "@godwit/libvirt";

const [uri, how, rounds = "1"] = process.argv.slice(2);

/** Asks for each domain's state, like `virsh domstate`. */
async function each({ remote }, domains) {
  const states = await Promise.all(domains.map((dom) => remote.domainGetState({ dom, flags: 0 })));
  return new Map(domains.map(({ name }, index) => [name, states[index].state]));
}

/** Asks once for all states, like `virsh domstats --state`. */
async function together(connection) {
  const all = await connection.getAllDomainStats({ stats: DomainStatsTypes.STATE });
  return new Map(all.map(({ dom, stats }) => [dom.name, stats["state.state"]]));
}

await using connection = await connect(uri);
for (let round = 0; round < Number(rounds); round += 1) {
  const began = performance.now();
  const domains = await connection.listDomains();
  const [states, xml] = await Promise.all([
    how === "each" ? each(connection, domains) : together(connection),
    Promise.all(domains.map((dom) => connection.remote.domainGetXmlDesc({ dom, flags: 0 }))),
  ]);
  process.stdout.write(domains.map(({ name }, index) => `${name} ${states.get(name)}\n${xml[index]}\n`).join(""));
  process.stderr.write(`${performance.now() - began}\n`);
}
