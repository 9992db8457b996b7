package main

import (
	"context"
	"os"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// provision makes the volumes of the storage classes whose provisioner is the driver, in this process: the external
// provisioner would need RPCs that nothing else calls.
func provision(kubeconfig string, disks disks) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		klog.Fatal(err)
	}
	config.QPS, config.Burst = 50, 100
	ctx := context.Background()
	controller.NewProvisionController(
		ctx, kubernetes.NewForConfigOrDie(config), driverName, volumes{disks},
		controller.LeaderElection(false),
		// The defaults stop after 15 attempts.
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
	).Run(ctx)
}

type volumes struct{ disks disks }

func (v volumes) Provision(
	_ context.Context, opts controller.ProvisionOptions,
) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	if err := os.MkdirAll(v.disks.volume(opts.PVName), 0o755); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	size := opts.PVC.Spec.Resources.Requests[v1.ResourceStorage]
	mode := v1.PersistentVolumeFilesystem
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: opts.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *opts.StorageClass.ReclaimPolicy,
			AccessModes:                   opts.PVC.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: size},
			VolumeMode:                    &mode,
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{
				Driver: driverName, VolumeHandle: opts.PVName,
			}},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete runs after the volume was detached: the external attacher's finalizer keeps it until then.
func (v volumes) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	if err := os.RemoveAll(v.disks.attachments(volume.Name)); err != nil {
		return err
	}
	return os.RemoveAll(v.disks.volume(volume.Name))
}
