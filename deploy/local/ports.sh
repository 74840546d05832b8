# Ports of a cluster of our own, all fixed, so that a firewall can name them. Sourced by the scripts beside it.
# Every machine of the cluster must reach every other one on all of them, and nobody else any.
# shellcheck shell=bash disable=SC2034  # used by who sources it
: "${HEPFM_PORT:=6379}"               # head: where drivers and nodes connect
: "${HEPFM_DASHBOARD_PORT:=8265}"     # head: jobs and dashboard, on loopback unless HEPFM_DASHBOARD_HOST says more
: "${HEPFM_CLIENT_PORT:=10001}"       # head
: "${HEPFM_NODE_PORT:=6380}"          # each node: node manager
: "${HEPFM_OBJECTS_PORT:=6381}"       # each node: object manager
: "${HEPFM_AGENT_PORT:=6382}"         # each node: runtime environments
: "${HEPFM_AGENT_GRPC_PORT:=6383}"    # each node
: "${HEPFM_AGENT_HTTP_PORT:=6384}"    # each node
: "${HEPFM_METRICS_PORT:=6385}"       # each node
: "${HEPFM_WORKER_PORTS:=6400-6599}"  # each node: its workers, first and last
# Torch's own connections take any port that the kernel gives: /proc/sys/net/ipv4/ip_local_port_range
