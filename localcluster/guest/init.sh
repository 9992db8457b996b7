#!/usr/bin/env bash
# Starts the node's components and starts each again that ends. Runs as PID 1 in the node.
# Environment: PORT of the API server, NODES (how many), NODE (name of this one), IP (its address) and PEERS: of each
# other node, the range of addresses of its pods, = and its address. Nodes beside node1 run no control plane.
set -eu
umount -l /old
mount --make-rshared /
hostname "$NODE"
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1
# Some kernels have no dummy device: a veth pair with both ends in here carries the node's address.
# There is no default route: nothing in here can reach another machine.
if [ "$NODE" = node1 ]; then
  ip link add eth0 type veth peer name eth0p
  ip link set eth0p up
else
  # Its link comes from the first node.
  until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
fi
ip addr add "$IP/24" dev eth0
ip link set eth0 up
for peer in $PEERS; do ip route add "${peer%=*}" via "${peer#*=}"; done
ip route add 10.96.0.0/16 dev eth0 # service addresses, for programs on the node itself; kube-proxy rewrites them
export PATH=/opt/node:/usr/sbin:/usr/bin:/sbin:/bin
# Memory for processor time: tests run more in here than two processors can do at once.
export GOGC=400
pki=/state/pki log=/state/log
rm -f /state/api.sock /var/lib/cni/networks/*/* 2>/dev/null || true

# A restart loses mounts: volumes of an enforced size must exist before the kubelet starts a pod on them.
for image in /state/volumes/*.img; do
  [ ! -e "$image" ] || mount -o loop "$image" "${image%.img}" || echo "$image: not mounted"
done

run() {
  local name=$1
  shift
  while :; do
    "$@" >>$log/"$name".log 2>&1 && status=0 || status=$?
    echo "--- $name ended with $status, starting it again" >>$log/"$name".log
    sleep 0.5
  done &
}
kubeconfigs() {
  printf -- '--kubeconfig %s --authentication-kubeconfig %s --authorization-kubeconfig %s' "$1" "$1" "$1"
}

kubelet_and_proxy() {
  run kubelet kubelet --config /state/conf/kubelet.yaml --kubeconfig $pki/kubelet.kubeconfig \
    --hostname-override "$NODE" --node-ip "$IP"
  run kube-proxy kube-proxy --config /state/conf/proxy.yaml
}

run containerd containerd -c /state/conf/containerd.toml
api_flags=() controller_flags=()
if [ "$NODES" != 1 ]; then
  # Tests wait for a dead node to be noticed.
  api_flags=(--default-not-ready-toleration-seconds 5 --default-unreachable-toleration-seconds 5)
  controller_flags=(--node-monitor-grace-period 10s --node-monitor-period 1s)
fi
if [ "$NODE" != node1 ]; then
  run relay relay tcp "127.0.0.1:$PORT" tcp "10.123.0.2:$PORT" # where the kubeconfigs expect the API server
  export GOMAXPROCS=1
  kubelet_and_proxy
  run csi /opt/csi/csi --node "$NODE" --disks /state/disks
  while :; do wait || true; done
fi
# No fsync: right for a cluster that tests throw away.
run etcd etcd --data-dir /state/etcd --unsafe-no-fsync --log-level warn \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380
# The address that it advertises must not be loopback. It reaches the kubelet by address: no DNS knows the node's name.
run kube-apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address "$IP" --secure-port "$PORT" \
  --tls-cert-file $pki/apiserver.crt --tls-private-key-file $pki/apiserver.key --client-ca-file $pki/ca.crt \
  --service-account-key-file $pki/sa.pub --service-account-signing-key-file $pki/sa.key \
  --service-account-issuer https://kubernetes.default.svc.cluster.local \
  --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged \
  --service-cluster-ip-range 10.96.0.0/16 --kubelet-preferred-address-types InternalIP \
  --kubelet-client-certificate $pki/apikubelet.crt --kubelet-client-key $pki/apikubelet.key "${api_flags[@]}"
run relay relay unix /state/api.sock tcp "127.0.0.1:$PORT"

admin() { kubectl --kubeconfig $pki/admin.kubeconfig "$@"; }
# The controller manager exits where the API server has no roles for it yet.
for _ in $(seq 600); do
  admin get --raw /readyz >/dev/null 2>&1 && break
  sleep 0.1
done
# The others need less than one processor each: fewer switches between threads (all together: a tenth less processor
# time).
export GOMAXPROCS=1
# shellcheck disable=SC2046  # several arguments
run kube-controller-manager kube-controller-manager $(kubeconfigs $pki/kcm.kubeconfig) --leader-elect=false \
  --service-account-private-key-file $pki/sa.key --root-ca-file $pki/ca.crt --use-service-account-credentials \
  --cluster-signing-cert-file $pki/ca.crt --cluster-signing-key-file $pki/ca.key \
  --cluster-cidr 10.244.0.0/16 --allocate-node-cidrs=false "${controller_flags[@]}"
# shellcheck disable=SC2046
run kube-scheduler kube-scheduler $(kubeconfigs $pki/sched.kubeconfig) --leader-elect=false
kubelet_and_proxy
run coredns coredns -conf /state/conf/Corefile
run provisioner provisioner --kubeconfig $pki/admin.kubeconfig --root /state/volumes --node node1
if [ "$NODES" != 1 ]; then
  run csi /opt/csi/csi --node node1 --disks /state/disks --kubeconfig $pki/admin.kubeconfig --controller /run/csi.sock
  run csi-attacher /opt/csi/csi-attacher --kubeconfig $pki/admin.kubeconfig --csi-address /run/csi.sock
fi
for _ in $(seq 100); do
  admin apply --server-side --force-conflicts -f /state/manifests >>$log/manifests.log 2>&1 && break
  sleep 0.2
done
while :; do wait || true; done
