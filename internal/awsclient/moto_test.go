package awsclient_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/test/moto"
)

// An organization, roles and Regions that we did not write. moto knows no account:ListRegions: EC2 is asked instead.
func TestAnOrganizationAtMoto(t *testing.T) {
	url := moto.Start(t)
	environment(t, withKeys("AWS_ENDPOINT_URL", url, "AWS_REGION", "eu-west-1")...)
	clients, err := awsclient.New(t.Context(), options(nil))
	if err != nil {
		t.Fatal(err)
	}
	own, err := clients.Account(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	base := aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""), BaseEndpoint: aws.String(url)}
	admin := organizations.NewFromConfig(base)
	if _, err := admin.CreateOrganization(t.Context(), &organizations.CreateOrganizationInput{FeatureSet: orgtypes.OrganizationFeatureSetAll}); err != nil {
		t.Fatal(err)
	}
	roots, err := admin.ListRoots(t.Context(), &organizations.ListRootsInput{})
	if err != nil {
		t.Fatal(err)
	}
	root := roots.Roots[0].Id
	unit := func(parent *string, name string) *string {
		out, err := admin.CreateOrganizationalUnit(t.Context(), &organizations.CreateOrganizationalUnitInput{ParentId: parent, Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		return out.OrganizationalUnit.Id
	}
	upper := unit(root, "sandboxes")
	lower := unit(upper, "old ones")
	var made []string
	for _, name := range strings.Split(strings.Repeat("x", 25), "") {
		out, err := admin.CreateAccount(t.Context(), &organizations.CreateAccountInput{AccountName: &name, Email: aws.String("x@example.com")})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, *out.CreateAccountStatus.AccountId)
	}
	slices.Sort(made)
	for id, to := range map[string]*string{made[3]: upper, made[4]: lower} {
		if _, err := admin.MoveAccount(t.Context(), &organizations.MoveAccountInput{AccountId: &id, SourceParentId: root, DestinationParentId: to}); err != nil {
			t.Fatal(err)
		}
	}

	accounts, err := clients.Organization(own, "autotagd", []string{*upper, made[5]}).Accounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := append(slices.Delete(slices.Clone(made), 3, 6), moto.AccountID)
	slices.Sort(want)
	if got := ids(accounts); !slices.Equal(got, want) {
		t.Errorf("accounts %v, want %v", got, want)
	}
	if _, err := clients.Organization(own, "autotagd", []string{"ou-none-00000000"}).Accounts(t.Context()); err == nil || !strings.Contains(err.Error(), "no unit ou-none-00000000") {
		t.Errorf("error = %v of a unit that is not there", err)
	}

	// By the role we are in the other account, and there alone.
	a := accounts[slices.Index(want, made[0])]
	if a.ID != made[0] {
		t.Fatalf("account %s, want %s", a.ID, made[0])
	}
	there := base.Copy()
	there.Region = "eu-west-1"
	there.Credentials = stscreds.NewAssumeRoleProvider(sts.NewFromConfig(base), "arn:aws:iam::"+a.ID+":role/autotagd")
	if _, err := iam.NewFromConfig(there).CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: aws.String("autotagd"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[]}`),
	}); err != nil {
		t.Fatal(err)
	}
	volume, err := ec2.NewFromConfig(there).CreateVolume(t.Context(), &ec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-west-1a"), Size: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	for account, ok := range map[*awsclient.Account]bool{a: true, own: false} {
		api, err := account.EC2(event.Scope{AccountID: account.ID, Region: "eu-west-1"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = api.CreateTags(t.Context(), &ec2.CreateTagsInput{
			Resources: []string{*volume.VolumeId}, Tags: []types.Tag{{Key: aws.String("Owner"), Value: aws.String("ann")}},
		})
		if (err == nil) != ok {
			t.Errorf("CreateTags as %s: %v", account.ARN, err)
		}
	}
	if err := a.WriteTags(t.Context(), event.Scope{AccountID: a.ID, Region: "eu-west-1"}, tagRole, map[string]string{"RoleName": "autotagd"}, ours); err != nil {
		t.Errorf("TagRole as %s: %v", a.ARN, err)
	}
	regions, err := a.Regions(t.Context())
	if err != nil || !slices.Contains(regions, "eu-west-1") || !slices.IsSorted(regions) || len(regions) < 10 {
		t.Errorf("Regions %v, %v", regions, err)
	}
}
