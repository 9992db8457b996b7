package main

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// disks is a folder with a folder of each volume, and beside it one with a file for each node that the volume is
// attached to.
type disks struct{ root string }

func disksAt(root string) disks { return disks{root: root} }

func (d disks) volume(id string) string      { return filepath.Join(d.root, id) }
func (d disks) attachments(id string) string { return filepath.Join(d.root, id+".attached") }

func (d disks) attachedTo(id string) ([]string, error) {
	entries, err := os.ReadDir(d.attachments(id))
	if os.IsNotExist(err) {
		return nil, nil
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, err
}

// controllerServer attaches and detaches.
type controllerServer struct {
	csi.UnimplementedControllerServer
	disks disks
	lock  sync.Mutex
}

func (c *controllerServer) ControllerGetCapabilities(
	context.Context, *csi.ControllerGetCapabilitiesRequest,
) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}},
		})
	}
	return response, nil
}

// ControllerPublishVolume refuses a volume of one node that is attached to another.
func (c *controllerServer) ControllerPublishVolume(
	_ context.Context, request *csi.ControllerPublishVolumeRequest,
) (*csi.ControllerPublishVolumeResponse, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if _, err := os.Stat(c.disks.volume(request.VolumeId)); err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no volume %s", request.VolumeId)
	}
	nodes, err := c.disks.attachedTo(request.VolumeId)
	if err != nil {
		return nil, err
	}
	for _, node := range nodes {
		if node != request.NodeId && ofOneNode(request.VolumeCapability) {
			return nil, status.Errorf(codes.FailedPrecondition, "volume %s is attached to %s", request.VolumeId, node)
		}
	}
	folder := c.disks.attachments(request.VolumeId)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	return &csi.ControllerPublishVolumeResponse{}, os.WriteFile(filepath.Join(folder, request.NodeId), nil, 0o644)
}

func (c *controllerServer) ControllerUnpublishVolume(
	_ context.Context, request *csi.ControllerUnpublishVolumeRequest,
) (*csi.ControllerUnpublishVolumeResponse, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	err := os.Remove(filepath.Join(c.disks.attachments(request.VolumeId), request.NodeId))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return &csi.ControllerUnpublishVolumeResponse{}, nil
}

func ofOneNode(capability *csi.VolumeCapability) bool {
	mode := capability.GetAccessMode().GetMode()
	return mode < csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY ||
		mode > csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
}

// nodeServer mounts: once for the node, and from there for each pod.
type nodeServer struct {
	csi.UnimplementedNodeServer
	name  string
	disks disks
	lock  sync.Mutex
}

func (n *nodeServer) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.name}, nil
}

func (n *nodeServer) NodeGetCapabilities(
	context.Context, *csi.NodeGetCapabilitiesRequest,
) (*csi.NodeGetCapabilitiesResponse, error) {
	response := &csi.NodeGetCapabilitiesResponse{}
	for _, kind := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		response.Capabilities = append(response.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: kind}},
		})
	}
	return response, nil
}

func (n *nodeServer) NodeStageVolume(
	_ context.Context, request *csi.NodeStageVolumeRequest,
) (*csi.NodeStageVolumeResponse, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if _, err := os.Stat(filepath.Join(n.disks.attachments(request.VolumeId), n.name)); err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is not attached to %s", request.VolumeId, n.name)
	}
	return &csi.NodeStageVolumeResponse{}, bind(n.disks.volume(request.VolumeId), request.StagingTargetPath, false)
}

func (n *nodeServer) NodeUnstageVolume(
	_ context.Context, request *csi.NodeUnstageVolumeRequest,
) (*csi.NodeUnstageVolumeResponse, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	return &csi.NodeUnstageVolumeResponse{}, unbind(request.StagingTargetPath)
}

// NodePublishVolume refuses a second pod where the claim is ReadWriteOncePod.
func (n *nodeServer) NodePublishVolume(
	_ context.Context, request *csi.NodePublishVolumeRequest,
) (*csi.NodePublishVolumeResponse, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	mode := request.VolumeCapability.GetAccessMode().GetMode()
	if mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER {
		points, err := mountPoints(filepath.Join(filepath.Base(n.disks.root), request.VolumeId))
		if err != nil {
			return nil, err
		}
		for _, point := range points {
			if point != request.TargetPath && point != request.StagingTargetPath {
				return nil, status.Errorf(codes.FailedPrecondition, "volume %s is mounted at %s", request.VolumeId, point)
			}
		}
	}
	return &csi.NodePublishVolumeResponse{}, bind(request.StagingTargetPath, request.TargetPath, request.Readonly)
}

func (n *nodeServer) NodeUnpublishVolume(
	_ context.Context, request *csi.NodeUnpublishVolumeRequest,
) (*csi.NodeUnpublishVolumeResponse, error) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if err := unbind(request.TargetPath); err != nil {
		return nil, err
	}
	if err := os.Remove(request.TargetPath); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func bind(from, to string, readOnly bool) error {
	if mounted, err := isMounted(to); mounted || err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if readOnly {
		return unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	return nil
}

func unbind(path string) error {
	if mounted, err := isMounted(path); !mounted || err != nil {
		return err
	}
	return unix.Unmount(path, 0)
}

func isMounted(path string) (bool, error) {
	points, err := mountPoints("")
	for _, point := range points {
		if point == path {
			return true, err
		}
	}
	return false, err
}

// mountPoints returns where a folder whose path ends so is mounted, below the kubelet's own folder.
func mountPoints(suffix string) ([]string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var points []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if strings.HasSuffix(fields[3], suffix) && strings.HasPrefix(fields[4], kubelet+"/") {
			points = append(points, fields[4])
		}
	}
	return points, lines.Err()
}
