// Package pick makes several of Kubernetes' programs one. It owns which of them a process is: that of
// the name it is called by, or of its first argument.
package pick

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the client
	_ "k8s.io/component-base/metrics/prometheus/version"  // the metric kubernetes_build_info
)

// Commands gives the command of a name; nil when there is none. Only the chosen one may be made: each
// sets up flags and feature gates of the whole process.
type Commands func(name string) *cobra.Command

// Main runs what is chosen and does not return. usage is what is said when nothing is.
func Main(commands Commands, usage string) {
	if command := commands(filepath.Base(os.Args[0])); command != nil {
		os.Exit(cli.Run(command))
	}
	if len(os.Args) > 1 {
		if command := commands(os.Args[1]); command != nil {
			// Upstream's commands read their arguments from here.
			os.Args = os.Args[1:]
			os.Exit(cli.Run(command))
		}
	}
	fmt.Fprintln(os.Stderr, "usage: "+usage)
	os.Exit(2)
}
