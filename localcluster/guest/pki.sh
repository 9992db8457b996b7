#!/usr/bin/env bash
# Certificates and kubeconfigs: pki.sh FOLDER NODE_IP API_PORT CONTEXT NODES, where NODES are NAME=IP of the nodes
# beside the first, whose files are in a folder of their name. Nothing to do where they are.
set -euo pipefail
ip=$2 port=$3 context=$4
[ ! -f "$1/done" ] || exit 0
mkdir -p "$1"
cd "$1"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2>/dev/null; }

key ca
# Python 3.13 checks strictly (VERIFY_X509_STRICT): key usages and key identifiers must exist.
openssl req -x509 -new -key ca.key -out ca.crt -days 3650 -subj "/CN=$context-ca" \
  -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
key sa
openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null

certificate() { # NAME SUBJECT [ALTERNATIVE_NAMES]
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr" 2>/dev/null
  {
    echo 'basicConstraints=critical,CA:FALSE'
    echo 'keyUsage=critical,digitalSignature'
    echo 'extendedKeyUsage=clientAuth,serverAuth'
    echo 'subjectKeyIdentifier=hash'
    echo 'authorityKeyIdentifier=keyid'
    echo "${3:+subjectAltName=$3}"
  } >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -days 3650 \
    -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  rm "$1.csr" "$1.ext"
}
service=kubernetes.default.svc
addresses=IP:$ip,IP:10.96.0.1,IP:127.0.0.1
names=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local
certificate apiserver /CN=kube-apiserver "$addresses,$names"
certificate admin /O=system:masters/CN=admin
certificate kcm /CN=system:kube-controller-manager
certificate sched /CN=system:kube-scheduler
certificate proxy /CN=system:kube-proxy
certificate kubelet /O=system:nodes/CN=system:node:node1 "IP:$ip,DNS:node1"
certificate apikubelet /O=system:masters/CN=kube-apiserver-kubelet-client

kubeconfig() { # NAME
  cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: $context
  cluster: {server: "https://127.0.0.1:$port", certificate-authority-data: $(base64 -w0 ca.crt)}
users:
- name: $context
  user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}
contexts: [{name: $context, context: {cluster: $context, user: $context}}]
current-context: $context
YAML
}
for user in admin kcm sched proxy kubelet; do kubeconfig $user; done
for pair in ${5:-}; do
  node=${pair%=*}
  mkdir "$node"
  certificate "$node/kubelet" "/O=system:nodes/CN=system:node:$node" "IP:${pair#*=},DNS:$node"
  kubeconfig "$node/kubelet"
  cp ca.crt proxy.kubeconfig "$node"
done
touch "done"
