// Command argocd is Argo CD's own programs for the tests in one binary, told apart by the name it is called by:
// argocd-application-controller, argocd-repo-server, argocd-applicationset-controller and argocd-server are links to
// it. Called as gitops-verdict it says what the parts of Argo CD and Flux that judge an object make of one.
//
// One binary shares the code they have in common, which is most of it: one link step, 150 MB on disk.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	applicationset "github.com/argoproj/argo-cd/v3/cmd/argocd-applicationset-controller/commands"
	gitaskpass "github.com/argoproj/argo-cd/v3/cmd/argocd-git-ask-pass/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	apiserver "github.com/argoproj/argo-cd/v3/cmd/argocd-server/commands"
	"github.com/argoproj/argo-cd/v3/common"
	"github.com/spf13/cobra"
)

var programs = map[string]func() *cobra.Command{
	common.CommandApplicationController:    controller.NewCommand,
	common.CommandApplicationSetController: applicationset.NewCommand,
	common.CommandGitAskPass:               gitaskpass.NewCommand,
	common.CommandRepoServer:               reposerver.NewCommand,
	common.CommandServer:                   apiserver.NewCommand,
}

func main() {
	name := filepath.Base(os.Args[0])
	if name == "gitops-verdict" {
		if err := verdict(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	program, known := programs[name]
	if !known {
		fmt.Fprintf(os.Stderr, "called as %q: call it through a link named after the program to run, argocd-repo-server say\n", name)
		os.Exit(2)
	}
	if err := program().Execute(); err != nil {
		os.Exit(1)
	}
}
