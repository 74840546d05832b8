#!/usr/bin/env bash
# Starts this machine as the head of a Ray cluster, or as a further node of one, for as long as the script runs:
#   deploy/local/node.sh head
#   deploy/local/node.sh join HEAD_ADDRESS
# Ctrl-C, SIGTERM or the end of the shell ends the node. See README.md beside it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=ports.sh
. "$here/ports.sh"

fail() {
    printf 'Error: %s\n' "$1" >&2
    exit 2
}

case "${1:-} $#" in
    "head 1" | "join 2") ;;
    *) fail "usage: node.sh head | node.sh join HEAD_ADDRESS" ;;
esac

python=${HEPFM_PYTHON:-python}
"$python" -c 'import hepfm, ray' || fail "$python has no hepfm and ray: activate its environment, or set HEPFM_PYTHON"

# One token for all machines: the head makes it, the others need a copy that only their user can read.
token=${RAY_AUTH_TOKEN_PATH:-$HOME/.cache/hepfm/ray-token}
if [[ $1 == head && ! -e $token ]]; then
    mkdir -p "$(dirname "$token")"
    (umask 077 && "$python" -c 'import secrets; print(secrets.token_hex(32), end="")' >"$token")
fi
[[ -s $token ]] || fail "there is no token at $token: copy the head's there (scp -p HEAD:$token $token)"
mode=$(stat -c %a "$token")
[[ $mode == 600 || $mode == 400 ]] || fail "others may read the token: chmod 600 $token"

# Ray's files lie where nobody else can look; paths of sockets have to be short.
scratch=${TMPDIR:-/tmp}/hepfm-ray-$(id -u)
mkdir -p -m 700 "$scratch"
[[ -O $scratch && ! -L $scratch ]] || fail "$scratch belongs to somebody else: set TMPDIR"
chmod 700 "$scratch"

export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token
export RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true
export HDF5_USE_FILE_LOCKING=${HDF5_USE_FILE_LOCKING:-FALSE} # shared file systems often have no locks
cpus=${HEPFM_CPUS:-$(nproc)}
export OMP_NUM_THREADS=$cpus # hepfm gives each of its workers its share of them

options=(
    --block
    --num-cpus "$cpus"
    --node-manager-port "$HEPFM_NODE_PORT"
    --object-manager-port "$HEPFM_OBJECTS_PORT"
    --runtime-env-agent-port "$HEPFM_AGENT_PORT"
    --dashboard-agent-grpc-port "$HEPFM_AGENT_GRPC_PORT"
    --dashboard-agent-listen-port "$HEPFM_AGENT_HTTP_PORT"
    --metrics-export-port "$HEPFM_METRICS_PORT"
    --min-worker-port "${HEPFM_WORKER_PORTS%-*}"
    --max-worker-port "${HEPFM_WORKER_PORTS#*-}"
)
if [[ -n ${HEPFM_GPUS:-} ]]; then options+=(--num-gpus "$HEPFM_GPUS"); fi
if [[ -n ${HEPFM_ADDRESS:-} ]]; then options+=(--node-ip-address "$HEPFM_ADDRESS"); fi
if [[ $1 == head ]]; then
    # A node that is gone is noticed within seconds, so that a run goes on without it.
    export RAY_health_check_period_ms=${RAY_health_check_period_ms:-2000}
    export RAY_health_check_timeout_ms=${RAY_health_check_timeout_ms:-5000}
    export RAY_health_check_failure_threshold=${RAY_health_check_failure_threshold:-3}
    options+=(
        --head
        --port "$HEPFM_PORT"
        --ray-client-server-port "$HEPFM_CLIENT_PORT"
        --dashboard-host "${HEPFM_DASHBOARD_HOST:-127.0.0.1}"
        --dashboard-port "$HEPFM_DASHBOARD_PORT"
        --temp-dir "$scratch/node"
    )
else
    host=${2%:*} port=$HEPFM_PORT
    if [[ $2 == *:* ]]; then port=${2##*:}; fi
    options+=(--address "$host:$port")
fi
exec "$python" -m ray.scripts.scripts start "${options[@]}"
