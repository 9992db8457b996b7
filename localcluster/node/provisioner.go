package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	provisionerName = "ocore.dev/local"
	// A StorageClass with this parameter gets volumes that are full at the size the claim asked for.
	enforceSize = "enforceSize"
)

// localVolumes makes volumes of type `local`: unlike hostPath volumes the kubelet applies a pod's fsGroup to
// them, so a pod without root can write. A volume is a directory below root, owned by root and mode 0755 as a
// fresh disk's is. One whose size is enforced is a file system in an image file beside the directory.
type localVolumes struct {
	root string
	node string
}

func provision(args []string) {
	flags := flag.NewFlagSet("provisioner", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	root := flags.String("root", "", "directory of the volumes")
	node := flags.String("node", "", "name of the node that the volumes are on")
	_ = flags.Parse(args)

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.Fatal(err)
	}
	config.QPS, config.Burst = 50, 100
	client := kubernetes.NewForConfigOrDie(config)
	ctx := context.Background()
	controller.NewProvisionController(
		ctx, client, provisionerName, &localVolumes{root: *root, node: *node},
		controller.LeaderElection(false),
		// The defaults stop after 15 attempts.
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
	).Run(ctx)
}

func (l *localVolumes) Provision(
	ctx context.Context, opts controller.ProvisionOptions,
) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(l.root, opts.PVName)
	size := opts.PVC.Spec.Resources.Requests[v1.ResourceStorage]
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if opts.StorageClass.Parameters[enforceSize] == "true" {
		if err := makeFileSystem(ctx, path, size.Value()); err != nil {
			return nil, controller.ProvisioningFinished, err
		}
	}
	mode := v1.PersistentVolumeFilesystem
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: opts.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *opts.StorageClass.ReclaimPolicy,
			AccessModes:                   opts.PVC.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: size},
			VolumeMode:                    &mode,
			MountOptions:                  opts.StorageClass.MountOptions,
			PersistentVolumeSource:        v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: path}},
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{
					Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{l.node},
				}},
			}}}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete runs after the last pod let go of the claim: the API server protects a claim in use.
func (l *localVolumes) Delete(ctx context.Context, volume *v1.PersistentVolume) error {
	path := filepath.Join(l.root, volume.Name)
	if _, err := os.Stat(image(path)); err == nil {
		if err := run(ctx, "umount", path); err != nil && mounted(path) {
			return &controller.VolumeInUseError{Reason: err.Error()}
		}
		if err := os.Remove(image(path)); err != nil {
			return err
		}
	}
	return os.RemoveAll(path)
}

func image(path string) string { return path + ".img" }

// makeFileSystem has no journal and nothing reserved for root: nearly all of the size can be filled.
func makeFileSystem(ctx context.Context, path string, size int64) error {
	if mounted(path) {
		return nil
	}
	file, err := os.Create(image(path))
	if err != nil {
		return err
	}
	err = file.Truncate(size)
	_ = file.Close()
	if err != nil {
		return err
	}
	if err := run(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", image(path)); err != nil {
		return fmt.Errorf("a volume of %s bytes: %w", strconv.FormatInt(size, 10), err)
	}
	if err := run(ctx, "mount", "-o", "loop", image(path), path); err != nil {
		return err
	}
	return os.Remove(filepath.Join(path, "lost+found")) // programs that want an empty directory trip over it
}

func mounted(path string) bool { return exec.Command("mountpoint", "-q", path).Run() == nil }

func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
