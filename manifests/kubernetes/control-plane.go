// Command control-plane is Kubernetes' control plane in one static program: kube-apiserver,
// kube-controller-manager and kube-scheduler, picked by the first argument, or by the name the
// program is called by. This file owns that choice; all else is upstream's.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // time zones of CronJobs, on hosts that have none

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the client
	_ "k8s.io/component-base/metrics/prometheus/version"  // the metric kubernetes_build_info
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	if command := pick(filepath.Base(os.Args[0])); command != nil {
		os.Exit(cli.Run(command))
	}
	if len(os.Args) > 1 {
		if command := pick(os.Args[1]); command != nil {
			// Upstream's commands read their arguments from here.
			os.Args = os.Args[1:]
			os.Exit(cli.Run(command))
		}
	}
	fmt.Fprintln(os.Stderr, "usage: control-plane kube-apiserver|kube-controller-manager|kube-scheduler [--help] [OPTION]...")
	os.Exit(2)
}

// pick makes the command of that name; nil when there is none. Only the chosen one is made: each
// sets up flags and feature gates of the whole process.
func pick(name string) *cobra.Command {
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
