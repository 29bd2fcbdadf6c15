package config_test

import (
	"time"

	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/rules"
)

// full is what testdata/full.yaml says.
func full() *config.Config {
	return &config.Config{
		Regions:      []string{"eu-west-1", "us-gov-east-1"},
		GlobalRegion: config.GlobalRegionOff,
		Accounts: []config.Account{
			{RoleARN: "arn:aws:iam::123456789012:role/team/autotagd", ExternalID: "a1"},
			{RoleARN: "arn:aws:iam::234567890123:role/autotagd"},
			{Organization: &config.Organization{RoleName: "tagger", Exclude: []string{"012345678901", "ou-ab12-34567890"}}},
		},
		Poll:       config.Poll{Interval: 90 * time.Second, SweepInterval: time.Hour, Lookback: time.Millisecond, Rate: 2, Start: 90 * 24 * time.Hour},
		Checkpoint: config.Checkpoint{DynamoDB: &config.DynamoDB{Table: "tags", Region: "eu-west-1", Lease: time.Minute}},
		Tags: []rules.Tag{
			{Key: "Team", Value: "${owner.attributes.department}"},
			{Key: "Owner", Value: "by ${owner.name}"},
			{Key: "PrincipalId", Value: "1234"},
		},
		ExistingTags: config.ExistingTags{Default: config.Keep, ByKey: map[string]config.Policy{"Owner": config.Keep, "PrincipalId": config.Overwrite}},
		Services:     []string{"s3", "ec2"},
		Filters:      []string{`event.source != "iam.amazonaws.com"`, `owner.kind == "person" || owner.name.startsWith("ci-")`},
		ServiceOwned: rules.TagServiceOwned,
		Owners: config.Owners{SessionNames: []config.SessionName{
			{Role: "AWSReservedSSO_*", Trust: true},
			{Role: "ci-?", Trust: false},
		}},
		DirectoryFile: "people.csv",
		CatalogFiles:  []string{"more.tsv"},
		Tagging: config.Tagging{
			Workers: 1, BatchWait: time.Second, Rate: 0.5, ConsistencyWait: time.Minute,
			DeferAfter: time.Hour, GiveUpAfter: 7 * 24 * time.Hour, PropagateAtLaunch: true,
		},
		Web:    config.Web{Listen: ":0", ConfigFile: "web.yml"},
		Log:    config.Log{Level: "debug", Format: "console"},
		DryRun: true,
	}
}
