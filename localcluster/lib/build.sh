# shellcheck shell=bash
# Builds the node. Every product is in the cache under the hash of its inputs. Sourced by ../cluster.

K8S_VERSION=1.36.3 # as in node/go.mod, which a test compares
COMPONENTS='etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl coredns'
COMPONENTS+=' relay provisioner'
NODE_SUITE=trixie # has containerd 1.7, whatever this machine has
NODE_PACKAGES=containerd,crun,containernetworking-plugins,iptables,nftables,iproute2,conntrack,mount,procps
NODE_PACKAGES+=,e2fsprogs,ca-certificates

# command=package: what this folder runs, and the demo, which has no other list
DEPS='mmdebstrap=mmdebstrap buildah=buildah newuidmap=uidmap unshare=util-linux nsenter=util-linux openssl=openssl
  curl=curl python3=python3 node=nodejs npm=npm flock=util-linux setsid=util-linux awk=gawk tar=tar'

missing_packages() {
  local pair
  for pair in $DEPS; do
    command -v "${pair%%=*}" >/dev/null || echo "${pair##*=}"
  done | sort -u
  "$REPO/requirements/python" >/dev/null 2>&1 || echo python3-venv
}

need_go() { command -v go >/dev/null || die "go is missing: version 1.26 or newer builds the node"; }

install_deps() {
  local missing
  need_go
  mapfile -t missing < <(missing_packages)
  if [ ${#missing[@]} = 0 ]; then return; fi
  need_root
  command -v apt-get >/dev/null || die "missing: ${missing[*]} (installed automatically only if apt-get exists)"
  with_lock apt install_missing
}

install_missing() {
  local missing
  mapfile -t missing < <(missing_packages) # another process may have installed them while this one waited
  [ ${#missing[@]} = 0 ] || step "installing ${missing[*]}" apt_install "${missing[@]}"
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  # The lists may be missing or old: fetch them only where that is so.
  apt-get install -y --no-install-recommends "$@" ||
    { apt-get update && apt-get install -y --no-install-recommends "$@"; }
}

binaries_key() { hash_of localcluster/node -- "$(go env GOVERSION GOARCH)" "$K8S_VERSION" 1; }
csi_key() { hash_of localcluster/csi -- "$(go env GOVERSION GOARCH)" 1; }
cnpg_key() { hash_of localcluster/cnpg -- "$(go env GOVERSION GOARCH)" 1; }
rootfs_key() { hash_of -- "$NODE_SUITE" "$NODE_PACKAGES" "$(declare -f make_root_fs debian_tree)"; }

# Sets BIN and ROOTFS, building what is not there.
cluster_build() {
  local since=$EPOCHREALTIME
  need_go
  BIN=$CACHE/node/$(binaries_key)
  ROOTFS=$CACHE/rootfs/$(rootfs_key)
  if [ -d "$BIN" ] && [ -d "$ROOTFS" ]; then
    install_deps
    [ "${COMMAND:-}" != build ] || say "node: as built before ($(seconds "$since") s)"
  else
    need_root
    # Compiling takes longest and needs Go alone: Debian's packages are installed beside it.
    [ -d "$BIN" ] || beside with_lock node make_binaries "$BIN"
    install_deps
    [ -d "$ROOTFS" ] || with_lock rootfs make_root_fs "$ROOTFS"
    join_beside
  fi
  [ -z "${OCORE_KUBERNETES:-}" ] || of_another_version "$OCORE_KUBERNETES"
}

# Sets BIN to a folder with the components of that version beside what has no version.
of_another_version() {
  local components out
  components=$("$HERE/versions/build" "$1") || die "Kubernetes $1 was not built"
  out=$BIN-$(basename "$components")
  if [ ! -d "$out" ]; then
    rm -rf "$out.tmp"
    cp -al "$BIN" "$out.tmp"
    cp -alf "$components/." "$out.tmp"
    mv "$out.tmp" "$out"
  fi
  BIN=$out
}

# The same for all builds, so that each finds in Go's cache what another has compiled. Debugging information, which the
# linker leaves out (-s -w), is a tenth of the compiler's time. Its collection of garbage is an eighth, where there is
# memory: a process frees what it can before it takes more than a quarter of the machine's.
go_settings() {
  export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS='-buildvcs=false -trimpath -gcflags=all=-dwarf=false'
  export GOGC=400 GOMEMLIMIT
  GOMEMLIMIT=$(awk '$1 == "MemTotal:" { print int($2 / 4) "KiB" }' /proc/meminfo)
}

make_binaries() {
  local out=$1 tmp=$1.tmp v=k8s.io/component-base/version name
  [ ! -d "$out" ] || return 0 # another process built it while this one waited
  rm -rf "$tmp"
  mkdir -p "$tmp"
  go_settings
  cd "$HERE/node" || return
  step "fetching Go modules" go mod download k8s.io/kubernetes
  # In one go: what waits for the linker of one, which uses one processor, compiles the other.
  step "building the node's binary and helm (cold: 5 minutes)" go build \
    -ldflags "-s -w -X $v.gitVersion=v$K8S_VERSION -X $v.gitMajor=1 -X $v.gitMinor=$(cut -d. -f2 <<<"$K8S_VERSION")" \
    -o "$tmp/" . ./pause helm.sh/helm/v4/cmd/helm
  cd "$REPO" || return
  for name in $COMPONENTS; do ln "$tmp/node" "$tmp/$name"; done
  rm "$tmp/node"
  python3 "$HERE/lib/oci.py" pause "$tmp/pause" "$tmp/pause.tar"
  mv "$tmp" "$out"
}

# Sets CNPG, the folder with CloudNativePG's `manager`, and its manifests as `cnpg.yaml`. cnpg/go.mod has the version.
cnpg_build() {
  CNPG=$CACHE/cnpg/$(cnpg_key)
  [ -d "$CNPG" ] || with_lock cnpg make_cnpg "$CNPG"
}

make_cnpg() {
  local out=$1 tmp=$1.tmp module=github.com/cloudnative-pg/cloudnative-pg found
  [ ! -d "$out" ] || return 0
  rm -rf "$tmp"
  mkdir -p "$tmp"
  go_settings
  cd "$HERE/cnpg" || return
  step "building CloudNativePG (cold: 5 minutes of processor time)" nice go build -ldflags "-s -w" \
    -o "$tmp/manager" $module/cmd/manager
  found=$(go list -m -f '{{.Dir}}/releases/cnpg-{{slice .Version 1}}.yaml' $module)
  install -m 644 "$found" "$tmp/cnpg.yaml"
  cd "$REPO" || return
  mv "$tmp" "$out"
}

# Sets CSI, the folder with the driver of the volumes that attach, and the external attacher.
csi_build() {
  CSI=$CACHE/csi/$(csi_key)
  [ -d "$CSI" ] || with_lock csi make_csi "$CSI"
}

make_csi() {
  local out=$1 tmp=$1.tmp
  [ ! -d "$out" ] || return 0
  rm -rf "$tmp"
  mkdir -p "$tmp"
  go_settings
  cd "$HERE/csi" || return
  step "building the CSI driver and the external attacher (cold: 3 minutes of processor time)" nice go build \
    -ldflags "-s -w" -o "$tmp/" . github.com/kubernetes-csi/external-attacher/v4/cmd/csi-attacher
  cd "$REPO" || return
  mv "$tmp" "$out"
}

# The mirror that this machine's own apt uses; mmdebstrap knows one where that is no Debian mirror.
debian_mirror() {
  { apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 'Origin: Debian' 2>/dev/null || true; } |
    sed -n '/security/!{p;q;}'
}

# debian_tree SUITE PACKAGES TARGET [OPTION...]: the smallest Debian with these packages
debian_tree() {
  local mirror
  mirror=$(debian_mirror)
  # shellcheck disable=SC2086  # no mirror is no argument
  mmdebstrap --variant=essential --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --include="$2" "${@:4}" "$1" "$3" $mirror
}

make_root_fs() {
  local out=$1 tmp=$1.tmp
  [ ! -d "$out" ] || return 0
  rm -rf --one-file-system "$tmp"
  mkdir -p "$tmp"
  step "making the node's root file system from Debian packages" debian_tree "$NODE_SUITE" "$NODE_PACKAGES" "$tmp"
  : >"$tmp/etc/resolv.conf"
  mkdir -p "$tmp"/{state,old,opt/node}
  mv "$tmp" "$out"
}
