package main

import "github.com/spf13/cobra"

func (w *workshop) imageCommand() *cobra.Command {
	return group(&cobra.Command{Use: "image", Short: "manage the node's images"})
}
