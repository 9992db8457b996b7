#!/usr/bin/env bash
# PID 1 of the node's namespaces: makes its root and becomes init.sh in it.
# Environment: S (state of the cluster), ROOTFS and BIN (of the cache), and what init.sh takes.
set -euo pipefail
# /proc is still the one outside: it knows this process by the id that the outside knows it by.
read -r pid _ </proc/self/stat
echo "$pid" >"$S/node.pid"

root=$S/root/merged
mount --make-rprivate /
mkdir -p "$S"/{root/upper,root/work,root/merged,containerd,kubelet,pods,etcd,volumes,log}
mount -t overlay -o "lowerdir=$ROOTFS,upperdir=$S/root/upper,workdir=$S/root/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
# crun refuses control groups of version 2 beside those of version 1, where version 2 has controllers that version 1
# lacks.
! mountpoint -q "$root/sys/fs/cgroup/unified" || umount "$root/sys/fs/cgroup/unified"
mkdir -p "$root"/{etc/cni/net.d,opt/cni,var/lib/containerd,var/lib/kubelet,var/lib/cni,var/log/pods}
mount --bind "$S" "$root/state"
mount --bind "$S/containerd" "$root/var/lib/containerd" # containerd's overlays want a real file system underneath
mount --bind "$S/kubelet" "$root/var/lib/kubelet"
mount --bind "$BIN" "$root/opt/node"
if [ "$NODES" != 1 ]; then
  mkdir -p "$S/disks" "$root/opt/csi"
  mount --bind "$DISKS" "$root/state/disks"
  mount --bind "$CSI" "$root/opt/csi"
fi
cp "$S/conf/10-node.conflist" "$root/etc/cni/net.d/"
cd "$root"
pivot_root . old
exec chroot . /bin/bash /state/init.sh
