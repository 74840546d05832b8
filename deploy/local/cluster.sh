#!/usr/bin/env bash
# Starts a cluster over ssh, the first host as its head, and ends it with Ctrl-C:
#   deploy/local/cluster.sh HOSTS SHARED_FOLDER
# HOSTS is a file with one host a line (what follows '#' is left out); SHARED_FOLDER is to hold the runs.
# Each host needs this repository and the same Python environment under the same paths as here. See README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=ports.sh
. "$here/ports.sh"

fail() {
    printf 'Error: %s\n' "$1" >&2
    exit 2
}

[[ $# == 2 && -r $1 && -d $2 ]] || fail "usage: cluster.sh HOSTS SHARED_FOLDER"
shared=$(cd "$2" && pwd)
mapfile -t hosts < <(sed 's/#.*//' "$1" | awk 'NF { print $1 }')
((${#hosts[@]})) || fail "$1 names no host"
ssh=(${HEPFM_SSH:-ssh -o BatchMode=yes})
python=$(command -v "${HEPFM_PYTHON:-python}") || fail "there is no ${HEPFM_PYTHON:-python} here: activate its environment, or set HEPFM_PYTHON"
token=${RAY_AUTH_TOKEN_PATH:-$HOME/.cache/hepfm/ray-token}

# Before anything starts: every host is there, and sees the folder that is to hold the runs.
note=$shared/.hepfm-$$-$RANDOM
trap 'rm -f "$note"' EXIT
echo $RANDOM$RANDOM >"$note"
for host in "${hosts[@]}"; do
    seen=$("${ssh[@]}" "$host" "cat $(printf %q "$note") 2>/dev/null || echo missing") || fail "$host: no answer over ssh"
    [[ $seen == "$(<"$note")" ]] || fail "$host does not see $shared: runs need storage that all hosts share"
done

# The token goes over standard input: never on a command line.
if [[ ! -e $token ]]; then
    mkdir -p "$(dirname "$token")"
    (umask 077 && "$python" -c 'import secrets; print(secrets.token_hex(32), end="")' >"$token")
fi
target=$(printf %q "$token")
for host in "${hosts[@]}"; do
    "${ssh[@]}" "$host" "umask 077; mkdir -p \$(dirname $target); cat >$target.new; mv $target.new $target" <"$token"
done

settings=$(env | grep -E '^(HEPFM_|OMP_)' | grep -vE '^HEPFM_(PYTHON|SSH|ADDRESS)=' | while read -r line; do printf '%q ' "$line"; done || true)
run="env HEPFM_PYTHON=$(printf %q "$python") RAY_AUTH_TOKEN_PATH=$target $settings $(printf %q "$here/node.sh")"
nodes=()
stop() {
    kill "${nodes[@]}" 2>/dev/null || true
    wait
    rm -f "$note"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# With a terminal of its own (-tt), the remote node ends with its ssh.
"${ssh[@]}" -tt "${hosts[0]}" "$run head" </dev/null &
nodes+=($!)
for host in "${hosts[@]:1}"; do
    # A node tries for a while to reach the head; it may come up before it.
    "${ssh[@]}" -tt "$host" "$run join ${hosts[0]}:$HEPFM_PORT" </dev/null &
    nodes+=($!)
done
printf 'Starting %s nodes; train with: hepfm pretrain RECIPE --address %s:%s --workers N --runs %s\n' \
    "${#hosts[@]}" "${hosts[0]}" "$HEPFM_PORT" "$shared"
wait -n || true
fail "a node ended; so does the cluster"
