// Command peer is upstream's part of a Kubernetes node in one static program: kubelet and kube-proxy.
// Our agent is measured by them. This file owns which they are; all else is upstream's.
package main

import (
	"context"

	"github.com/spf13/cobra"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"keelson/kubernetes/pick"
)

func main() {
	pick.Main(command, "peer kubelet|kube-proxy [--help] [OPTION]...")
}

func command(name string) *cobra.Command {
	switch name {
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	case "kube-proxy":
		return proxy.NewProxyCommand()
	}
	return nil
}
