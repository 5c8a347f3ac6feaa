package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the system, or the roles of it that this process has",
		Long: `serve runs until SIGTERM or Ctrl-C, and then finishes what it has begun. Roles:

  gateway     the HTTP edge: accept, verify, read
  consumers   everything read from Kafka, the sweeper and the status relay
  bridge      the SMPP links; the only role that needs keys.bridge_private

Any part may be stopped, killed or started in any order.`,
		Args: noArgs,
	}
	load := configFlag(cmd)
	roles := cmd.Flags().StringSlice("roles", app.AllRoles(), "`ROLES` of this process, with commas")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
		a, err := app.New(cfg, app.Options{Roles: *roles, Log: log})
		if err != nil {
			return usageError{fmt.Errorf("serve: %w", err)}
		}
		return a.Run(cmd.Context())
	}
	return cmd
}
