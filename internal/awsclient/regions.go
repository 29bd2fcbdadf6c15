package awsclient

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/account"
	"github.com/aws/aws-sdk-go-v2/service/account/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// maxRegionPages ends a list that would go on for ever: AWS has some forty Regions, and fifty a page.
const maxRegionPages = 10

// Regions returns the Regions that are enabled in the account, sorted. It asks account:ListRegions, and where that can't be
// had (no permission, no such service in the partition, no way to it) ec2:DescribeRegions, which tells the same. What may pass
// is tried again, with a warning each time, until ctx ends; but for a role that can't be assumed: that is a *RoleError at once.
func (a *Account) Regions(ctx context.Context) ([]string, error) {
	var regions []string
	var listing, describing error
	err := a.clients.untilAnswered(ctx, "AWS did not say which Regions are enabled; trying again", func() error {
		var noRole *RoleError
		describing = nil
		if regions, listing = a.listRegions(ctx); listing == nil || errors.As(listing, &noRole) {
			return listing
		}
		if regions, describing = a.describeRegions(ctx); describing == nil || !passing(listing) {
			return describing
		}
		return listing
	})
	switch {
	case err == nil && len(regions) == 0:
		return nil, fmt.Errorf("find out the Regions of account %s: AWS names none", a.ID)
	case err == nil:
		slices.Sort(regions)
		return regions, nil
	case describing == nil:
		return nil, fmt.Errorf("find out the Regions of account %s: %w", a.ID, Explain(err))
	}
	return nil, fmt.Errorf("find out the Regions of account %s: %w; and %w", a.ID, Explain(listing), Explain(describing))
}

func (a *Account) listRegions(ctx context.Context) ([]string, error) {
	var regions []string
	var token *string
	for range maxRegionPages {
		out, err := a.clients.calls.listRegions(ctx, &account.ListRegionsInput{
			NextToken: token, RegionOptStatusContains: []types.RegionOptStatus{types.RegionOptStatusEnabled, types.RegionOptStatusEnabledByDefault},
		}, func(o *account.Options) { o.Region, o.Credentials = a.clients.controlRegion(), a.credentials })
		if err != nil {
			return nil, err
		}
		for _, r := range out.Regions {
			switch r.RegionOptStatus {
			case types.RegionOptStatusEnabled, types.RegionOptStatusEnabledByDefault:
				regions = append(regions, aws.ToString(r.RegionName))
			}
		}
		if token = out.NextToken; aws.ToString(token) == "" {
			return regions, nil
		}
	}
	return nil, fmt.Errorf("the list of Regions goes on for more than %d pages", maxRegionPages)
}

func (a *Account) describeRegions(ctx context.Context) ([]string, error) {
	out, err := a.clients.calls.describeRegions(ctx, &ec2.DescribeRegionsInput{}, func(o *ec2.Options) {
		o.Region, o.Credentials = a.clients.region, a.credentials
	})
	if err != nil {
		return nil, err
	}
	var regions []string
	for _, r := range out.Regions {
		if aws.ToString(r.OptInStatus) != "not-opted-in" {
			regions = append(regions, aws.ToString(r.RegionName))
		}
	}
	return regions, nil
}
