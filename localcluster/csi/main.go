// A CSI driver for volumes that attach: each is a folder on the machine that all nodes of the local cluster share, and
// is mounted only on a node that it is attached to.
//
// One process on each node serves the kubelet. That of the first node also attaches, for the external attacher, and
// makes the volumes of the driver's storage class.
package main

import (
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const (
	driverName = "attached.ocore.dev"
	kubelet    = "/var/lib/kubelet"
)

func main() {
	node := flag.String("node", "", "name of this node")
	disks := flag.String("disks", "", "directory of the volumes, the same one on all nodes")
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server: attaches and makes volumes")
	controllerSocket := flag.String("controller", "", "socket for the external attacher, with --kubeconfig")
	flag.Parse()

	socket := filepath.Join(kubelet, "plugins", driverName, "csi.sock")
	server := grpc.NewServer()
	csi.RegisterIdentityServer(server, identity{})
	csi.RegisterNodeServer(server, &nodeServer{name: *node, disks: disksAt(*disks)})
	go serve(server, socket)
	if *kubeconfig != "" {
		attaching := grpc.NewServer()
		csi.RegisterIdentityServer(attaching, identity{})
		csi.RegisterControllerServer(attaching, &controllerServer{disks: disksAt(*disks)})
		go serve(attaching, *controllerSocket)
		go provision(*kubeconfig, disksAt(*disks))
	}
	registrar := grpc.NewServer()
	registration.RegisterRegistrationServer(registrar, registrationServer{socket: socket})
	serve(registrar, filepath.Join(kubelet, "plugins_registry", driverName+"-reg.sock"))
}

func serve(server *grpc.Server, socket string) {
	_ = os.Remove(socket)
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		klog.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		klog.Fatal(err)
	}
	klog.Fatal(server.Serve(listener))
}

type identity struct {
	csi.UnimplementedIdentityServer
}

func (identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: driverName, VendorVersion: "1"}, nil
}

func (identity) GetPluginCapabilities(
	context.Context, *csi.GetPluginCapabilitiesRequest,
) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{{
		Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{
			Type: csi.PluginCapability_Service_CONTROLLER_SERVICE,
		}},
	}}}, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

// registrationServer announces the driver to the kubelet, as the node-driver-registrar does.
type registrationServer struct {
	registration.UnimplementedRegistrationServer
	socket string
}

func (r registrationServer) GetInfo(
	context.Context, *registration.InfoRequest,
) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: driverName, Endpoint: r.socket, SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r registrationServer) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		klog.Fatalf("the kubelet did not register the driver: %s", status.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}
