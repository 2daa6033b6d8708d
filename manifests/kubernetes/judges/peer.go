// Command peer is upstream's part of a Kubernetes node in one static program: kubelet and kube-proxy,
// picked by the first argument, or by the name the program is called by. Our agent is measured by
// them. This file owns that choice; all else is upstream's.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the client
	_ "k8s.io/component-base/metrics/prometheus/version"  // the metric kubernetes_build_info
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
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
	fmt.Fprintln(os.Stderr, "usage: peer kubelet|kube-proxy [--help] [OPTION]...")
	os.Exit(2)
}

// pick makes the command of that name; nil when there is none. Only the chosen one is made: each
// sets up flags and feature gates of the whole process.
func pick(name string) *cobra.Command {
	switch name {
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	case "kube-proxy":
		return proxy.NewProxyCommand()
	}
	return nil
}
