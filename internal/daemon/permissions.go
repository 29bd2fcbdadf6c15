package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/smithy-go"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
)

// Permission is one thing that autotagd must be allowed to do in one Scope, and whether it is.
type Permission struct {
	Scope  event.Scope
	Action string
	Err    error // nil: allowed; its text says what to do
}

// CheckAWS tries what can be tried without changing anything, in every Region of cfg, or, where there are many accounts, in
// one Region of each: of what Policies allows, each call that reads, and CreateTags as a dry run. TagResources has no dry run,
// and the services' own calls are of a resource, so they are not among them. Its own error is of the credentials, or of the accounts.
func CheckAWS(ctx context.Context, cfg *config.Config, planner *Planner, clients *awsclient.Clients) (*awsclient.Account, []Permission, error) {
	account, err := clients.Account(ctx)
	if err != nil {
		return nil, nil, err
	}
	accounts, err := newAccounts(cfg, clients, account)
	if err != nil {
		return account, nil, err
	}
	scopes, err := accounts.scopes(ctx)
	if err != nil {
		return account, nil, err
	}
	if len(cfg.Accounts) > 0 {
		scopes = slices.CompactFunc(scopes, func(a, b event.Scope) bool { return a.AccountID == b.AccountID })
	}
	needed := make(map[string]bool)
	for _, g := range grants(cfg, planner, clients.Region()) {
		needed[g.action] = true
	}
	key := planner.Rules.Keys()[0] // a policy may allow no other
	var all []Permission
	for _, scope := range scopes {
		account := accounts.get(scope.AccountID)
		trail, err := account.CloudTrail(scope)
		if err != nil {
			return account, nil, err
		}
		calls, err := account.EC2(scope)
		if err != nil {
			return account, nil, err
		}
		tags, err := account.Tagging(scope)
		if err != nil {
			return account, nil, err
		}
		for _, t := range []struct {
			action string
			try    func() error
		}{
			{"cloudtrail:LookupEvents", func() error {
				_, err := trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(1)})
				return err
			}},
			{"ec2:CreateTags", func() error { return dryRunCreateTags(ctx, calls, key) }},
			{"ec2:DescribeTags", func() error {
				_, err := calls.DescribeTags(ctx, &ec2.DescribeTagsInput{MaxResults: aws.Int32(5)})
				return err
			}},
			{"ec2:DescribeInstances", func() error {
				_, err := calls.DescribeInstances(ctx, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
				return err
			}},
			{"ec2:DescribeVolumes", func() error {
				_, err := calls.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{MaxResults: aws.Int32(5)})
				return err
			}},
			{"ec2:DescribeImages", func() error {
				_, err := calls.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, MaxResults: aws.Int32(5)})
				return err
			}},
			{"tag:GetResources", func() error {
				_, err := tags.GetResources(ctx, &tagging.GetResourcesInput{ResourcesPerPage: aws.Int32(1)})
				return err
			}},
		} {
			if !needed[t.action] {
				continue
			}
			all = append(all, Permission{Scope: scope, Action: t.action, Err: awsclient.Explain(t.try())})
		}
	}
	return account, all, nil
}

// dryRunCreateTags asks whether CreateTags would be allowed. AWS answers a dry run by error: DryRunOperation is yes.
// An id that does not exist is looked up only after the permission was found, so NotFound is yes too.
func dryRunCreateTags(ctx context.Context, calls awsclient.EC2, key string) error {
	_, err := calls.CreateTags(ctx, &ec2.CreateTagsInput{
		DryRun:    aws.Bool(true),
		Resources: []string{"vol-00000000000000000"},
		Tags:      []ec2types.Tag{{Key: &key, Value: aws.String("autotagd-check")}},
	})
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "DryRunOperation", "InvalidVolume.NotFound", "InvalidID":
			return nil
		}
	}
	if err == nil {
		return fmt.Errorf("a dry run of ec2:CreateTags was carried out")
	}
	return err
}
