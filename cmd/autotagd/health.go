package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/autotagd/autotagd/pkg/event"
)

const (
	// healthTimeout bounds the whole question: a container's health check must not hang.
	healthTimeout = 5 * time.Second
	// healthURL is where the default configuration has the web port.
	healthURL = "http://127.0.0.1:9464"
	// maxHealthText bounds what is shown of an answer, which may be anyone's.
	maxHealthText = 1000
)

func newHealth(env environment) *cobra.Command {
	given := healthURL
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the running daemon whether it is healthy (for container health checks)",
		Long: `health asks the daemon's web port whether the daemon makes progress: exit code 0 if so, else 1.

With TLS and a password (web.config_file) the URL has both: https://USER:PASSWORD@HOST:9464,
where HOST is a name or an address in the certificate. $AUTOTAGD_HEALTH_URL holds it where a
command line would show the password. Of a CA of your own $SSL_CERT_FILE names the
certificate, or $SSL_CERT_DIR a directory with it; the system's CAs are known.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from := "--url"
			if set := env.getenv("AUTOTAGD_HEALTH_URL"); set != "" && !cmd.Flags().Changed("url") {
				given, from = set, "AUTOTAGD_HEALTH_URL"
			}
			u, err := url.Parse(given)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				// Without the URL, nor the parser's error, which has it: there may be a password in it.
				return usageError{fmt.Errorf("%s: not the URL of a web port; want http://HOST:PORT or https://USER:PASSWORD@HOST:PORT (of a password, %%-escape what is neither letter nor digit)", from)}
			}
			u.RawQuery, u.Fragment = "", ""
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, u.JoinPath("/-/healthy").String(), nil)
			if err != nil {
				return usageError{fmt.Errorf("%s: %w", from, err)}
			}
			client := &http.Client{Timeout: healthTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // the daemon sends nobody elsewhere: it is not the daemon that answers
			}}
			resp, err := client.Do(req)
			if err != nil {
				return fmt.Errorf("health: %w; %s", err, healthHint(err, from))
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
			if err != nil {
				return fmt.Errorf("health: %w", err)
			}
			text := event.Printable(strings.TrimSpace(string(body)), maxHealthText)
			if resp.StatusCode != http.StatusOK {
				hint := ""
				switch {
				case resp.StatusCode == http.StatusUnauthorized:
					hint = "; want " + u.Scheme + "://USER:PASSWORD@" + u.Host + " in " + from
				case resp.StatusCode == http.StatusBadRequest && u.Scheme == "http":
					hint = "; has the port TLS (web.config_file)? Then want https:// in " + from
				}
				return fmt.Errorf("not healthy: %s (HTTP %d)%s", cmp.Or(text, "no reason given"), resp.StatusCode, hint)
			}
			_, err = fmt.Fprintln(env.stdout, text)
			return err
		},
	}
	cmd.Flags().StringVar(&given, "url", given, "where the daemon's web port is (else $AUTOTAGD_HEALTH_URL)")
	return cmd
}

// healthHint says what helps when no answer came. from is what named the URL.
func healthHint(err error, from string) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return "if the CA is your own, name its certificate by SSL_CERT_FILE"
	case errors.As(err, &host):
		return "want a name or an address in " + from + " that is in the certificate"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "the port has no TLS: want http:// in " + from
	}
	return "is autotagd running, and is " + from + " its web.listen?"
}
