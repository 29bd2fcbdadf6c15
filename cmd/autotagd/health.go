package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout bounds the whole question: a container's health check must not hang.
const healthTimeout = 5 * time.Second

func newHealth(env environment) *cobra.Command {
	url := "http://127.0.0.1:9464"
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the running daemon whether it is healthy (for container health checks)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := &http.Client{Timeout: healthTimeout}
			target := strings.TrimSuffix(url, "/") + "/-/healthy"
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, target, nil)
			if err != nil {
				return usageError{fmt.Errorf("--url: %w; want http://HOST:PORT", err)}
			}
			resp, err := client.Do(req)
			if err != nil {
				return fmt.Errorf("health: %w; is autotagd running, and is --url its web.listen?", err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
			if err != nil {
				return fmt.Errorf("health: %w", err)
			}
			text := strings.TrimSpace(string(body))
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("not healthy: %s (HTTP %d)", text, resp.StatusCode)
			}
			_, err = fmt.Fprintln(env.stdout, text)
			return err
		},
	}
	cmd.Flags().StringVar(&url, "url", url, "where the daemon's web port is")
	return cmd
}
