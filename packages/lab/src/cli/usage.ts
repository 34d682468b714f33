export const usage = `Real libvirt hosts on this machine, for trying and testing Godwit. Runs as root.

  npm run lab -- up [--hosts N] [--guests N] [--name NAME] [-o json]
  npm run lab -- status [--name NAME] [-o json]
  npm run lab -- exec HOST -- COMMAND …
  npm run lab -- verify GUEST
  npm run lab -- fault VERB HOST …
  npm run lab -- down [--name NAME | --all]

A lab stays until 'down'. --name says which one is meant when there are several (default: 'default' for
up, else the only one). 'verify' checks that a guest still has every record it acknowledged.

Faults, each with the one that undoes it:
  cut-link HOST NETWORK [--unplug]   restore-link HOST NETWORK   drop everything, silently (or carrier lost)
  slow-link HOST NETWORK --mbit N    restore-link HOST NETWORK   limit the rate, each way
  kill-libvirtd HOST                 start-libvirtd HOST         SIGKILL; guests run on
  kill-qemu HOST GUEST               (start the guest again)     SIGKILL
  stop-sshd HOST                     start-sshd HOST             sessions included
  freeze-host HOST                   thaw-host HOST              no process goes on
  fill-disk HOST                     free-disk HOST              the pool 'local'
  crash-host HOST                    boot-host HOST              a power cut
Networks: management, migration, storage, spare.
`;
