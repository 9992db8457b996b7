# shellcheck shell=bash
# Settings, messages, locks. Sourced by ../cluster.

NAME=${OCORE_CLUSTER:-ocore}
CACHE=${OCORE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ocore-snapshots}
STATE=${OCORE_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/ocore-snapshots}
# shellcheck disable=SC2034  # used by the files that source this one
S=$STATE/$NAME
STARTED=$EPOCHREALTIME

[[ $NAME =~ ^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$ ]] ||
  { echo "OCORE_CLUSTER: '$NAME' is no name: small letters, digits and -, 32 at most" >&2; exit 2; }

seconds() { awk -v a="${1:-$STARTED}" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }
say() { printf '[%6s s] %s\n' "$(seconds)" "$*" >&2; }
die() { printf 'cluster: %s\n' "$*" >&2; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "the local cluster needs namespaces and mounts: run it as root"; }

# step WHAT COMMAND...: runs it with its output in a log, prints its progress every few seconds, shows the log's
# end if it fails. Do not use it in a condition: there the shell would not stop at the first failure in it.
step() {
  local what=$1 log since=$EPOCHREALTIME status=0
  shift
  mkdir -p "$CACHE/log"
  log=$(mktemp "$CACHE/log/$(date +%H%M%S)-XXXXXX.log")
  say "$what"
  set -m # a process group of its own, to end all of it
  (set -e; "$@") >"$log" 2>&1 </dev/null 9>&- &
  STEP=$!
  set +m
  (
    while :; do
      sleep 5 9>&- >/dev/null 2>&1 # it outlives what it is part of for these seconds: nothing waits for its output
      # Without a line yet grep fails, which would end this shell, and then the one that stops it.
      last=$(tail -c 300 "$log" | tr '\r' '\n' | grep -av '^ *$' | tail -n 1 | cut -c 1-90) || true
      say "  ... $what, $(seconds "$since") s: $last"
    done
  ) &
  TICKER=$!
  wait "$STEP" || status=$?
  # Not TERM: bash loses one that arrives before the new process has left the traps of this one behind, and the wait
  # would have no end.
  kill -KILL "$TICKER" 2>/dev/null || true
  wait "$TICKER" 2>/dev/null || true
  STEP='' TICKER=''
  if [ "$status" != 0 ]; then
    tail -n 30 "$log" >&2
    die "failed: $what (whole log: $log)"
  fi
  rm -f "$log"
  say "$what: $(seconds "$since") s"
}

# What was asked to end ends its step too, and what runs beside it.
on_exit() {
  [ -z "$STEP" ] || { kill -- "-$STEP" || true; kill -KILL "$TICKER"; } 2>/dev/null || true
  [ -z "$BESIDE" ] || kill -- "-$BESIDE" 2>/dev/null || true
}
pass_signals_on() { # a subshell has no traps: it must set them again; what runs is another shell's to end
  STEP='' TICKER='' BESIDE=''
  trap on_exit EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}
pass_signals_on

# beside COMMAND...: runs it while this shell continues. join_beside waits for its end, and fails where it failed.
beside() {
  set -m # a process group of its own, to end all of it
  "$@" &
  BESIDE=$!
  set +m
}

join_beside() {
  [ -n "$BESIDE" ] || return 0
  wait "$BESIDE" || exit 1
  BESIDE=''
}

# with_lock NAME COMMAND...: one at a time on this machine. Daemons started under it must close fd 9.
with_lock() {
  local lock=$CACHE/locks/$1
  shift
  mkdir -p "$CACHE/locks"
  (
    pass_signals_on
    flock -n 9 || { say "waiting for another one that works at '${lock##*/}'"; flock 9; }
    "$@"
  ) 9>"$lock"
}

# wait_for SECONDS WHAT COMMAND...: polls until it succeeds.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
  : "$what"
}

# choose_nodes [--nodes N]: sets NODES. A cluster keeps its number.
choose_nodes() {
  local kept=''
  [ ! -d "$S" ] || kept=$(cat "$S/nodes" 2>/dev/null || echo 1)
  NODES=${kept:-1}
  [ $# != 0 ] || return 0
  [[ "$*" =~ ^--nodes\ [12]$ ]] || die "up takes --nodes 1 or --nodes 2"
  NODES=$2
  [ "${kept:-$NODES}" = "$NODES" ] ||
    die "cluster '$NAME' has $kept node(s): remove it first (localcluster/cluster down)"
}

have_docker() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }

choose_backend() {
  case ${CLUSTER:-auto} in
    local | kind) echo "$CLUSTER" ;;
    auto) if command -v kind >/dev/null && have_docker; then echo kind; else echo local; fi ;;
    *) die "CLUSTER=$CLUSTER is unknown: set local or kind" ;;
  esac
}

# hash of files (their names below the repository and contents) and of further arguments after --
hash_of() {
  local files=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do files+=("$1"); shift; done
  [ $# -eq 0 ] || shift
  {
    [ ${#files[@]} = 0 ] || (
      cd "$REPO" &&
        find "${files[@]}" -type f ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    )
    printf '%s\n' "$@"
  } | sha256sum | cut -c 1-16
}
