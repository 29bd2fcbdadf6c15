package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/autotagd/autotagd/pkg/catalog"
)

func newCatalog(env environment) *cobra.Command {
	var configPath string
	format := "table"
	cmd := &cobra.Command{
		Use:   "catalog",
		Short: "List every create event that autotagd knows",
		Long: `catalog lists every create event that autotagd knows, those of the configuration's
catalog.files among them: its event source and name, what it makes, and the call that
tags that.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if format != "table" && format != "json" {
				return usageError{fmt.Errorf("--format: %q is not a format; want table or json", format)}
			}
			_, cat, err := readConfig(env, configPath)
			switch {
			case cat == nil:
				return err
			case err != nil:
				return usageError{err}
			}
			pairs := []catalog.Pair{}
			pairs = append(pairs, cat.Pairs()...)
			if format == "json" {
				enc := json.NewEncoder(env.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(pairs)
			}
			w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "EVENT SOURCE\tEVENT NAME\tRESOURCE TYPE\tTAG CALL\tCONFIDENCE\tSERVICE")
			for _, p := range pairs {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", p.EventSource, p.EventName, p.ResourceType, p.TagAPI, p.Confidence, p.Service)
			}
			return w.Flush()
		},
	}
	configFlag(cmd, &configPath)
	cmd.Flags().StringVar(&format, "format", format, "table or json")
	return cmd
}
