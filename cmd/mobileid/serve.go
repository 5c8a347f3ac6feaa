package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/config"
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
	roles := cmd.Flags().StringSlice("roles", app.AllRoles(), "`ROLES` of this process, with commas")
	withConfig(cmd, func(cmd *cobra.Command, cfg *config.Config, _ []string) error {
		log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
		redisSays(log)
		collectSeldom()
		a, err := app.New(cfg, app.Options{Roles: *roles, Log: log})
		if err != nil {
			return usageError{fmt.Errorf("serve: %w", err)}
		}
		return a.Run(cmd.Context())
	})
	return cmd
}

// gcPercent lets the heap of a server grow to five times what is alive, some
// ten MB, before it is collected: with Go's own 100 the consumers at 200 requests
// a second collected some five times a second.
const gcPercent = 400

// collectSeldom sets it, unless whoever started the process chose.
func collectSeldom() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
