// Command control-plane is Kubernetes' control plane in one static program: kube-apiserver,
// kube-controller-manager and kube-scheduler. This file owns which they are; all else is upstream's.
package main

import (
	_ "time/tzdata" // time zones of CronJobs, on hosts that have none

	"github.com/spf13/cobra"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"keelson/kubernetes/pick"
)

func main() {
	pick.Main(command, "control-plane kube-apiserver|kube-controller-manager|kube-scheduler [--help] [OPTION]...")
}

func command(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return controllermanager.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	}
	return nil
}
