# shellcheck shell=bash
# The same commands with kind, if a Docker engine exists. Sourced by ../cluster.
#
# What differs: the default StorageClass is kind's own (no fsGroup needed), there are no classes `sized` and `attached`,
# and pods can reach other machines.

NODE=$NAME-control-plane
CONTEXT=kind-$NAME

install_deps() {
  local tool
  for tool in docker kind kubectl helm; do
    command -v $tool >/dev/null || die "$tool is missing (CLUSTER=kind)"
  done
  have_docker || die "the Docker engine does not answer (CLUSTER=kind)"
  docker buildx version >/dev/null 2>&1 ||
    die "Docker has no Buildx, which the Containerfiles need: install its plugin (docker-buildx), or set CLUSTER=local"
}

cluster_build() { install_deps; }

nodes() { kind get nodes --name "$NAME"; }
kind_exists() { kind get clusters 2>/dev/null | grep -qFx "$NAME"; }
need_node() {
  docker inspect "$NODE" >/dev/null 2>&1 || die "cluster '$NAME' does not run: start it with localcluster/cluster up"
}

cluster_up() {
  choose_nodes "$@"
  cluster_build
  mkdir -p "$S" "$CACHE/log"
  echo "$NODES" >"$S/nodes"
  if kind_exists; then
    # shellcheck disable=SC2046  # a list
    docker start $(nodes) >/dev/null
  else
    sed "s/apiServerPort: .*/apiServerPort: ${OCORE_API_PORT:-$([ "$NAME" = ocore ] && echo 6443 || echo 0)}/" \
      "$HERE/kind.yaml" >"$S/kind.yaml"
    [ "$NODES" = 1 ] || echo '  - role: worker' >>"$S/kind.yaml"
    step "making kind cluster '$NAME'" kind create cluster --name "$NAME" --config "$S/kind.yaml" \
      --kubeconfig "$S/kubeconfig" --wait 180s
  fi
  kind get kubeconfig --name "$NAME" >"$S/kubeconfig"
  chmod 600 "$S/kubeconfig"
  # In the node's network the API server has its own port.
  sed 's#server: https://127.0.0.1:.*#server: https://127.0.0.1:6443#' "$S/kubeconfig" >"$S/kubeconfig-inside"
  chmod 600 "$S/kubeconfig-inside"
  printf 'nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n' \
    >"$S/resolv.conf"
  kubectl --kubeconfig "$S/kubeconfig" wait --for=condition=Ready nodes --all --timeout 120s >/dev/null
  kubectl --kubeconfig "$S/kubeconfig" wait --for=condition=Available -n kube-system deployment/coredns \
    --timeout 120s >/dev/null
  wait_for 60 "the default service account" kubectl --kubeconfig "$S/kubeconfig" get serviceaccount default ||
    die "cluster '$NAME' has no default service account after 60 s"
  say "cluster '$NAME' is ready: eval \"\$(localcluster/cluster env)\""
}

cluster_down() {
  if kind_exists; then kind delete cluster --name "$NAME" --kubeconfig "$S/kubeconfig"; fi
  rm -rf "$S"
  rmdir "$STATE" 2>/dev/null || true
}

# shellcheck disable=SC2046  # a list
cluster_stop() { need_node; docker stop $(nodes) >/dev/null; }

# node2 is kind's worker.
node_kill() { docker kill "$NAME-worker" >/dev/null; }
node_cut() { docker network disconnect kind "$NAME-worker"; }
node_repair() {
  docker start "$NAME-worker" >/dev/null
  docker network connect kind "$NAME-worker" 2>/dev/null || true # it is connected already
}

node_pid() { docker inspect -f '{{.State.Pid}}' "$NODE"; }

cluster_env() {
  local file=$S/kubeconfig pid
  need_node
  pid=$(node_pid)
  # Called by a command of `net`, it reports the route from there.
  [ "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/$pid/ns/net" 2>/dev/null)" ] || file=$S/kubeconfig-inside
  printf 'export %s=%q\n' OCORE_CLUSTER "$NAME" KUBECONFIG "$file" OCORE_NODE_PID "$pid"
}

cluster_status() {
  kind_exists || { echo "cluster '$NAME': none"; return 3; }
  echo "cluster '$NAME': kind, context $CONTEXT, KUBECONFIG=$S/kubeconfig"
  kubectl --kubeconfig "$S/kubeconfig" get nodes -o wide
}

cluster_usage() {
  need_node
  docker exec "$NODE" awk '/^usage_usec/ { printf "%.2f\n", $2 / 1000000 }' /sys/fs/cgroup/cpu.stat
}

cluster_exec() {
  need_node
  [ $# -gt 0 ] || set -- bash
  [ "$ON_NODE" = node1 ] || NODE=$NAME-worker
  docker exec -i "$NODE" "$@"
}

# As root, the engine's processes being root's.
# shellcheck disable=SC2016  # expanded by the inner shell
cluster_net() {
  local root=()
  need_node
  [ $# -gt 0 ] || set -- bash
  [ "$(id -u)" = 0 ] || root=(sudo --preserve-env)
  exec "${root[@]}" env "PATH=$PATH" "HOME=$HOME" "KUBECONFIG=$S/kubeconfig-inside" "OCORE_CLUSTER=$NAME" \
    nsenter -t "$(node_pid)" --net unshare --mount --propagation private bash -c '
      mount --bind "$0" /etc/resolv.conf && exec "$@"' "$S/resolv.conf" "$@"
}

cluster_logs() { need_node; docker logs "$NODE"; }

build_images() {
  local image names folder
  install_deps
  names=$(full_names "$@") || exit 1
  for image in $names; do
    image_spec "$image"
    if [ "$image" = api:dev ]; then
      folder=$(page)
      BUILD_ARGS+=(--build-context "ui=$folder")
    fi
    step "building $image" docker build -q -t "$PREFIX/$image" "${BUILD_ARGS[@]}" \
      --build-arg "BASE_IMAGE=debian:${SUITE}-slim" \
      -f "$REPO/images/${image%:*}/Containerfile" "$REPO"
  done
  if kind_exists; then
    # shellcheck disable=SC2086  # a list
    load_images $names
  fi
}

load_images() {
  local image
  for image in $(full_names "$@"); do
    kind load docker-image --name "$NAME" "$PREFIX/$image"
  done
}

image_digests() { die "only the local backend builds OCI layouts (CLUSTER=local)"; }

import_archives() {
  local file
  for file in "$@"; do
    kind load image-archive --name "$NAME" "$file"
  done
}

prune_cache() { docker image prune -f; }
