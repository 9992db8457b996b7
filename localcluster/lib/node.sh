# shellcheck shell=bash
# The cluster in namespaces of this machine. Sourced by ../cluster.
#
# The node is one tree of processes below one PID 1 in namespaces of its own: killing that ends every process,
# mount, interface and rule of it. What is left then is its folder $S and its control groups, which also name
# every process of it, should the file with the id of PID 1 be lost.

# A second node is another such tree, below $S/node2, with a link to the first one's network.

IP=10.123.0.2
IP2=10.123.0.3
PODS=10.244.0.0/24
PODS2=10.244.1.0/24
CGROUP=ocore-$NAME
CONTEXT=localcluster-$NAME

# ---- what runs

node_pid() { # of the running node; fails where none runs
  local pid started boot
  [ -f "$S/node.id" ] || return 1
  read -r pid started boot <"$S/node.id"
  # The process id may belong to another process since, or the machine was restarted.
  [ "$boot" = "$(</proc/sys/kernel/random/boot_id)" ] && [ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

start_time() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  stat=${stat##*) }
  # shellcheck disable=SC2086
  set -- $stat
  [ "$1" != Z ] && echo "${20}"
}

# of_node NODE COMMAND...: a function that is about one node, about that one
of_node() {
  [ "$1" != node1 ] || { "${@:2}"; return; }
  local S=$S/$1 CGROUP=$CGROUP.$1
  "${@:2}"
}

nodes() { # those that run
  node_pid >/dev/null || return 0
  echo node1
  ! of_node node2 node_pid >/dev/null || echo node2
}

need_node() { PID=$(node_pid) || die "cluster '$NAME' does not run: start it with localcluster/cluster up"; }

kubectl() { "$S/bin/kubectl" --kubeconfig "$S/kubeconfig" --request-timeout 10s "$@"; }

# ---- control groups: version 1 (a directory for each controller), 2, or both at once

cgroup_dirs() {
  local dir
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo "/sys/fs/cgroup/$CGROUP"
  else
    for dir in /sys/fs/cgroup/*/; do
      [ ! -f "$dir/cgroup.procs" ] || echo "$dir$CGROUP"
    done
  fi
}

make_cgroups() {
  local dir controller file
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p "/sys/fs/cgroup/$CGROUP/node"
    for dir in /sys/fs/cgroup "/sys/fs/cgroup/$CGROUP"; do
      for controller in $(<"$dir/cgroup.controllers"); do
        echo "+$controller" >"$dir/cgroup.subtree_control" || true
      done 2>/dev/null
    done
  else
    for dir in $(cgroup_dirs); do
      mkdir -p "$dir/node"
      for file in "$dir" "$dir/node"; do # a new cpuset has no processors and no memory, and takes no process
        [ ! -f "$file/cpuset.cpus" ] || { cat "$(dirname "$file")/cpuset.cpus" >"$file/cpuset.cpus"
          cat "$(dirname "$file")/cpuset.mems" >"$file/cpuset.mems"; }
      done
    done
  fi
}

cgroup_processes() {
  local dirs
  mapfile -t dirs < <(cgroup_dirs)
  find "${dirs[@]}" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un
}

# ---- down

end_processes() {
  local pids deadline=$((SECONDS + 20)) pid
  if pid=$(node_pid); then kill -9 "$pid" 2>/dev/null || true; fi
  while mapfile -t pids < <(cgroup_processes | grep -vx 0) && [ ${#pids[@]} -gt 0 ]; do
    kill -9 "${pids[@]}" 2>/dev/null || true
    [ $SECONDS -lt $deadline ] || die "processes of cluster '$NAME' do not end: ${pids[*]}; end them by hand"
    sleep 0.1
  done
  rm -f "$S/node.id" "$S/node.pid" "$S/api.sock"
}

remove_cgroups() {
  local dirs dir deadline=$((SECONDS + 20)) left
  mapfile -t dirs < <(cgroup_dirs)
  while :; do
    left=0
    for dir in "${dirs[@]}"; do
      [ -d "$dir" ] || continue
      find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ ! -d "$dir" ] || left=1
    done
    [ $left = 1 ] || return 0
    [ $SECONDS -lt $deadline ] || die "control groups of cluster '$NAME' stay busy: ${dirs[*]}"
    sleep 0.1
  done
}

stop_node() {
  end_processes
  remove_cgroups
}

stop_nodes() {
  of_node node2 stop_node
  stop_node
}

delete_state() {
  local deadline=$((SECONDS + 20)) gone=$STATE/.gone-$NAME
  # Nothing of it is mounted out here; should something be, deleting would reach into it.
  ! grep -qF " $S/" /proc/self/mountinfo || die "something is mounted below $S: unmount it first"
  # Renamed first: where this is ended half-way, the next start must not find half of a state. The next removal finds
  # the rest.
  [ ! -d "$S" ] || { rm -rf --one-file-system "$gone" && mv -T "$S" "$gone"; }
  # The namespaces end a moment after their last process, and until then hold the files.
  until rm -rf --one-file-system "$gone" 2>/dev/null; do
    [ $SECONDS -lt $deadline ] || { rm -rf --one-file-system "$gone"; return 1; }
    sleep 0.1
  done
  rmdir "$STATE" 2>/dev/null || true
}

cluster_stop() {
  need_root
  with_lock "cluster-$NAME" stop_nodes
  say "cluster '$NAME' is stopped; its state is kept in $S"
}

cluster_down() {
  need_root
  local there=1
  [ -d "$S" ] || there=0
  with_lock "cluster-$NAME" down_locked
  [ $there = 1 ] || { say "there is no cluster '$NAME'"; return 0; }
  say "cluster '$NAME' is gone"
}

down_locked() { stop_nodes; delete_state; }

# ---- up

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() { # one without a listener that no other cluster has saved
  local port
  for port in $(seq 6443 6543); do
    [ "$port" != 6443 ] || [ "$NAME" = ocore ] || continue # kept for the cluster with the default name
    ! grep -qsx "$port" "$STATE"/*/port || continue
    ! listens "$port" || continue
    echo "$port"
    return
  done
  return 1
}

choose_port() {
  if [ -f "$S/port" ]; then
    PORT=$(<"$S/port")
    [ "${OCORE_API_PORT:-$PORT}" = "$PORT" ] ||
      die "cluster '$NAME' has port $PORT, not $OCORE_API_PORT: remove it first (localcluster/cluster down)"
  else
    if [ -n "${OCORE_API_PORT:-}" ]; then
      PORT=$OCORE_API_PORT
    elif [ "$NAME" = ocore ]; then
      PORT=6443
    else
      PORT=$(free_port) || die "no free port between 6443 and 6543: set OCORE_API_PORT"
    fi
    echo "$PORT" >"$S/port"
  fi
  ! listens "$PORT" ||
    die "port $PORT of this machine is in use: set OCORE_API_PORT (and run 'down' if cluster '$NAME' has a state)"
}

cluster_up() {
  need_root
  choose_nodes "$@"
  [ ! -f "$S/kubernetes" ] || OCORE_KUBERNETES=$(<"$S/kubernetes") # a cluster keeps its version
  cluster_build
  [ "$NODES" = 1 ] || csi_build
  with_lock "cluster-$NAME" up_locked
}

up_locked() {
  local port
  if node_pid >/dev/null; then
    [ "$(readlink "$S/bin")" = "$BIN" ] ||
      say "cluster '$NAME' runs an older build of the node; 'stop' and 'start' takes the new one"
    listens "$(<"$S/port")" || start_relay "$(<"$S/port")" "$(node_pid)"
    [ "$NODES" = 1 ] || of_node node2 node_pid >/dev/null || start_node2 "$(<"$S/port")"
    wait_ready
    say "cluster '$NAME' is up already, API server on 127.0.0.1:$(<"$S/port")"
    return
  fi
  stop_nodes # what a crash may have left
  mkdir -p "$S/log"
  with_lock_ports
  port=$(<"$S/port")
  say "starting cluster '$NAME', API server on 127.0.0.1:$port"
  start_node "$port"
  [ "$NODES" = 1 ] || start_node2 "$port"
  wait_ready
  say "cluster '$NAME' is ready: eval \"\$(localcluster/cluster env)\""
}

with_lock_ports() { (flock 8; choose_port) 8>"$CACHE/locks/ports" || exit 1; }

start_node() {
  local port=$1
  ln -sfn "$BIN" "$S/bin"
  ln -sfn "$ROOTFS" "$S/rootfs" # names it as used
  echo "${OCORE_KUBERNETES:-}" >"$S/kubernetes"
  echo "$NODES" >"$S/nodes"
  configure
  if [ "$NODES" != 1 ]; then
    ln -sfn "$CSI" "$S/csi"
    cp "$HERE/csi/storage.yaml" "$S/manifests/attached.yaml"
  fi
  bash "$HERE/guest/pki.sh" "$S/pki" "$IP" "$port" "$CONTEXT" "$([ "$NODES" = 1 ] || echo "node2=$IP2")"
  install -m 600 "$S/pki/admin.kubeconfig" "$S/kubeconfig"
  launch node1 "$IP" "$port" "$([ "$NODES" = 1 ] || echo "$PODS2=$IP2")"
  start_relay "$port" "$(<"$S/node.pid")"
  load_pause
}

# Its kubelet, containerd and kube-proxy, as soon as it has a link to the first node's network
start_node2() { # PORT
  local disks=$S/disks pki=$S/pki/node2
  of_node node2 stop_node # what a crash may have left
  mkdir -p "$S/node2/log"
  rm -rf "$S/node2/pki"
  cp -r "$pki" "$S/node2/pki"
  of_node node2 configure
  sed -i "s#$PODS#$PODS2#" "$S/node2/conf/10-node.conflist"
  sed -i s/node1/node2/ "$S/node2/conf/proxy.yaml"
  DISKS=$disks of_node node2 launch node2 "$IP2" "$1" "$PODS=$IP"
  connect_node2
  of_node node2 load_pause
}

# A bridge carries the second node's link and the first one's own device. The first node must see no frame of it as a
# packet that it forwards (bridge-nf-call-iptables), and must answer for the bridge, which has no address, with nothing.
connect_node2() {
  # The first node does not see the second one's processes: it gets the network as an open file.
  nsenter_node bash -ec '
    if ! ip link show br0 >/dev/null 2>&1; then
      ip link add br0 type bridge
      echo 1 >/proc/sys/net/ipv4/conf/br0/arp_ignore
      ! [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
      ip link set eth0p master br0
      ip link set br0 up
    fi
    ip link del node2 2>/dev/null || true
    ip link add node2 type veth peer name eth0 netns /proc/self/fd/7
    ip link set node2 master br0 up' 7<"/proc/$(<"$S/node2/node.pid")/ns/net"
}

node_kill() {
  need_root
  need_second_node
  with_lock "cluster-$NAME" of_node node2 stop_node
  say "node2 of cluster '$NAME' is dead"
}

node_cut() {
  need_root
  need_second_node
  nsenter_node ip link set node2 down
}

node_repair() {
  need_root
  need_second_node
  if of_node node2 node_pid >/dev/null; then
    nsenter_node ip link set node2 up
  else
    cluster_up --nodes 2
  fi
}

need_second_node() {
  need_node
  [ "$(<"$S/nodes")" = 2 ] || die "cluster '$NAME' has one node: 'down', then 'up --nodes 2'"
}

configure() { # a node's own copy of what its components read
  rm -rf "$S/conf" "$S/manifests"
  cp -r "$HERE/guest/conf" "$HERE/guest/manifests" "$HERE/guest/init.sh" "$S/"
  sed -i "s/@CGROUP@/$CGROUP/" "$S/conf/kubelet.yaml"
  # A kubelet before 1.32 ends where its configuration has a field that it does not know.
  [ "${OCORE_KUBERNETES:-}" != 1.31 ] || sed -i '/^featureGates:/d; /^crashLoopBackOff:/d' "$S/conf/kubelet.yaml"
  # A node that is dead is noticed in seconds: see init.sh.
  [ "$NODES" = 1 ] || echo 'nodeLeaseDurationSeconds: 8' >>"$S/conf/kubelet.yaml"
}

launch() { # NODE IP PORT PEERS
  make_cgroups
  date -u +%Y-%m-%dT%H:%M:%S.%6NZ >"$S/started"
  (
    enter_cgroups
    export S ROOTFS BIN NODES NODE=$1 IP=$2 PORT=$3 PEERS=$4 CSI=${CSI:-} DISKS=${DISKS:-$S/disks}
    exec setsid unshare --mount --pid --net --uts --ipc --fork --kill-child --propagation private \
      bash "$HERE/guest/enter.sh" </dev/null >"$S/log/init.log" 2>&1 9>&-
  ) &
  wait_for 20 "PID 1" test -s "$S/node.pid" || start_failed "it did not start"
  local pid
  pid=$(<"$S/node.pid")
  echo "$pid $(start_time "$pid") $(</proc/sys/kernel/random/boot_id)" >"$S/node.id"
}

load_pause() {
  wait_for 20 containerd nsenter_node ctr version || start_failed "containerd does not answer"
  nsenter_node ctr -n k8s.io images import /opt/node/pause.tar >"$S/log/pause.log" 2>&1 ||
    start_failed "the pause image does not load"
}

# The one way in: the API server, over a unix socket. This half of it ends with the node.
start_relay() { # PORT PID
  (
    enter_cgroups
    exec setsid "$BIN/relay" --until-exit "$2" tcp "127.0.0.1:$1" unix "$S/api.sock" \
      </dev/null >"$S/log/relay-outside.log" 2>&1 9>&-
  ) &
  disown -a
}

enter_cgroups() {
  local dir
  for dir in $(cgroup_dirs); do
    # Not into the group of version 2 beside version 1, where it refuses.
    echo $BASHPID >"$dir/node/cgroup.procs" || true
  done 2>/dev/null
}

start_failed() {
  tail -n 5 "$S"/log/*.log >&2 || true
  die "cluster '$NAME': $1 (logs: $S/log)"
}

wait_ready() {
  local check since=$EPOCHREALTIME checks='api_ready node_ready account_ready storage_ready dns_ready'
  [ "$NODES" = 1 ] || checks+=' attaching_ready'
  for check in $checks; do
    until ready_quiet "$check"; do
      node_pid >/dev/null || start_failed "its first process ended"
      [ "$(seconds "$since" | cut -d. -f1)" -lt 120 ] || start_failed "not ready after 120 s: $check"
      sleep 0.1
    done
  done
}

ready_quiet() { "$1" >/dev/null 2>&1; }
api_ready() { kubectl get --raw /readyz; }
node_ready() {
  local ready heartbeat node started
  for node in $(nodes); do
    # After a restart etcd still has the old readiness: it must have been written since the start.
    read -r ready heartbeat < <(kubectl get node "$node" -o \
      'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.lastHeartbeatTime}{"\n"}{end}')
    started=$(of_node "$node" started_at)
    [ "$ready" = True ] && [[ ${heartbeat:0:19} > $started ]] || return 1
  done
}
started_at() { cut -c 1-19 "$S/started"; }
attaching_ready() {
  local node
  kubectl get storageclass attached
  for node in $(nodes); do
    kubectl get csinode "$node" -o 'jsonpath={.spec.drivers[*].name}' | grep -qFx attached.ocore.dev || return 1
  done
}
account_ready() { kubectl get serviceaccount -n default default; }
storage_ready() { kubectl get storageclass standard sized; }
dns_ready() { run_in_network getent hosts kubernetes.default.svc.cluster.local; }

# ---- ways in

NODE_PATH=/opt/node:/usr/sbin:/usr/bin:/sbin:/bin
nsenter_node() {
  nsenter -t "$(<"$S/node.pid")" --mount --pid --net --uts --ipc \
    env -i PATH=$NODE_PATH HOME=/root TERM="${TERM:-dumb}" "$@"
}

cluster_exec() {
  need_root
  need_node
  [ $# -gt 0 ] || set -- bash
  of_node "$ON_NODE" node_pid >/dev/null || die "cluster '$NAME' has no running $ON_NODE"
  of_node "$ON_NODE" nsenter_node "$@"
}

# The node's network, but this machine's files, users and processes. A mount namespace of its own carries the
# one file that must differ: with this machine's resolv.conf names would be asked of a server out of reach.
# shellcheck disable=SC2016  # expanded by the inner shell
run_in_network() {
  nsenter -t "$(<"$S/node.pid")" --net unshare --mount --propagation private bash -c '
    mount --bind "$0" /etc/resolv.conf && exec "$@"' "$S/conf/resolv.conf" "$@"
}

cluster_net() {
  need_root
  need_node
  [ $# -gt 0 ] || set -- bash
  export KUBECONFIG=$S/kubeconfig OCORE_CLUSTER=$NAME OCORE_NODE_PID=$PID PATH=$S/bin:$PATH
  run_in_network "$@"
}

# import_images NAME=DIGEST...: of the cache's OCI layout, as far as the running cluster lacks them
import_images() {
  local node
  if ! node_pid >/dev/null; then
    say "cluster '$NAME' does not run: nothing is loaded ('load' does it later)"
    return 0
  fi
  for node in $(nodes); do of_node "$node" import_into "$node" "$@"; done
}

import_into() { # NODE NAME=DIGEST...
  local node=$1 pair have wanted=() since=$EPOCHREALTIME
  shift
  have=$(mktemp)
  nsenter_node ctr -n k8s.io images list | awk '{ print $1 "=" $3 }' >"$have"
  for pair in "$@"; do
    grep -qFx "$pair" "$have" || wanted+=("$pair")
  done
  if [ ${#wanted[@]} = 0 ]; then
    say "$node of cluster '$NAME' has these images"
  else
    nsenter_node ctr -n k8s.io content list -q >"$have"
    python3 "$HERE/lib/oci.py" thin "$CACHE/oci" "$have" "${wanted[@]}" |
      nsenter_node ctr -n k8s.io images import - >/dev/null
    for pair in "${wanted[@]}"; do say "loaded ${pair%%=*} into $node of cluster '$NAME' ($(seconds "$since") s)"; done
  fi
  rm -f "$have"
}

# import_archives FILE...: also under the names with a digest, which the chart of a release has
import_archives() {
  local node
  [ $# -gt 0 ] || die "name the archives to load"
  node_pid >/dev/null || die "cluster '$NAME' does not run: start it with localcluster/cluster up"
  for node in $(nodes); do of_node "$node" import_archives_into "$node" "$@"; done
}

import_archives_into() { # NODE FILE...
  local node=$1 file image digest named
  shift
  for file in "$@"; do
    named=$(python3 "$HERE/lib/oci.py" names "$file") || exit 1
    nsenter_node ctr -n k8s.io images import - <"$file" >/dev/null
    while read -r image digest; do
      nsenter_node ctr -n k8s.io images tag --force "$image" "${image%:*}@$digest" >/dev/null
      say "loaded $image into $node of cluster '$NAME'"
    done <<<"$named"
  done
}

cluster_env() {
  need_node
  printf 'export %s=%q\n' OCORE_CLUSTER "$NAME" KUBECONFIG "$S/kubeconfig" OCORE_NODE_PID "$PID"
  # shellcheck disable=SC2016  # expanded by the caller's shell
  printf 'export PATH=%q:"$PATH"\n' "$S/bin"
}

cluster_status() {
  local pid memory='' dir
  if ! pid=$(node_pid); then
    if [ -d "$S" ]; then echo "cluster '$NAME': stopped, state in $S"; else echo "cluster '$NAME': none"; fi
    return 3
  fi
  for dir in $(cgroup_dirs); do
    for file in memory.usage_in_bytes memory.current; do
      [ ! -f "$dir/$file" ] || memory=$(awk '{ printf "%.0f MiB", $1 / 1048576 }' "$dir/$file")
    done
  done
  echo "cluster '$NAME': running since $(cut -c 1-19 "$S/started") UTC"
  echo "  API server  https://127.0.0.1:$(<"$S/port"), context $CONTEXT, KUBECONFIG=$S/kubeconfig"
  echo "  node        process $pid, ${memory:-unknown} of memory with page cache"
  echo "  state       $S"
  kubectl get --raw /readyz >/dev/null 2>&1 || { echo "  the API server does not answer"; return 1; }
  kubectl get nodes -o wide --no-headers | sed 's/^/  /'
  echo "  pods        $(kubectl get pods -A --no-headers 2>/dev/null |
    awk '{ n[$4]++ } END { for (s in n) printf "%d %s  ", n[s], s }')"
}

# Of all that ever ran in the node since it was started.
cluster_usage() {
  need_node
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    awk '/^usage_usec/ { printf "%.2f\n", $2 / 1000000 }' "/sys/fs/cgroup/$CGROUP/cpu.stat"
  else
    awk '{ printf "%.2f\n", $1 / 1000000000 }' "/sys/fs/cgroup/cpuacct/$CGROUP/cpuacct.usage"
  fi
}

cluster_logs() {
  [ -d "$S/log" ] || die "there is no cluster '$NAME'"
  if [ $# = 0 ]; then
    (cd "$S/log" && printf '%s\n' *.log | sed 's/\.log$//')
  else
    cat "$S/log/$1.log"
  fi
}
