package fakeaws_test

import (
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

func TestTagLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{})
		full := make(map[string]string)
		for i := range 49 {
			full[fmt.Sprint("k", i)] = "v"
		}
		full["aws:autoscaling:groupName"] = "web" // does not count
		create := func(ids []string, key string) error {
			_, err := c.ec2.CreateTags(c.ctx, &ec2.CreateTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String(key), Value: aws.String("w")}}})
			return err
		}
		volume := c.aws.Create(c.aws.Scope(), "CreateVolume", maria, fakeaws.Spec{Tags: full})
		if err := create(volume.IDs(""), "the 50th"); err != nil {
			t.Errorf("the 50th tag: %v", err)
		}
		if err := create(volume.IDs(""), "Owner"); code(err) != "TagLimitExceeded" {
			t.Errorf("the 51st tag: %v", err)
		}
		if err := create(volume.IDs(""), "k7"); err != nil {
			t.Errorf("one of the 50 again: %v", err)
		}
		if err := create(slices.Repeat(volume.IDs(""), 1001), "k7"); code(err) != "InvalidParameterValue" {
			t.Errorf("1001 ids: %v", err)
		}
		queue := c.aws.Create(c.aws.Scope(), "CreateQueue", maria, fakeaws.Spec{Tags: full}).Resources[0].ARN
		tag := func(arns []string) (*tagging.TagResourcesOutput, error) {
			return c.tags.TagResources(c.ctx, &tagging.TagResourcesInput{ResourceARNList: arns, Tags: map[string]string{"Owner": "x", "PrincipalId": "y"}})
		}
		if out, err := tag([]string{queue}); err != nil || out.FailedResourcesMap[queue].ErrorCode != "TooManyTagsException" {
			t.Errorf("the 51st tag: %+v, %v", out, err)
		}
		if _, err := tag(slices.Repeat([]string{queue}, 21)); code(err) != "InvalidParameterException" {
			t.Errorf("21 ARNs: %v", err)
		}
	})
}

func TestGetResourcesListsWhatWasEverTagged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Regions: []string{"us-east-1"}})
		plain := c.aws.Create(c.aws.Scope(), "CreateTopic", maria).Resources[0].ARN
		tagged := c.aws.Create(c.aws.Scope(), "CreateTopic", maria, fakeaws.Spec{Tags: map[string]string{"a": "b"}}).Resources[0].ARN
		role := c.aws.Create(c.aws.Scope(), "CreateRole", maria, fakeaws.Spec{Tags: map[string]string{"a": "b"}}).Resources[0].ARN
		out, err := c.tags.GetResources(c.ctx, &tagging.GetResourcesInput{ResourceARNList: []string{plain, tagged, role}})
		if err != nil || len(out.ResourceTagMappingList) != 1 || *out.ResourceTagMappingList[0].ResourceARN != tagged {
			t.Errorf("%+v, %v; want the tagged topic alone", out, err)
		}
	})
}

func TestIAMListsTagsOfWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fakeaws.New(fakeaws.Config{Regions: []string{"us-east-1"}})
		role := f.Create(f.Scope(), "CreateRole", maria, fakeaws.Spec{Name: "app", Tags: map[string]string{"team": "x"}}).Resources[0]
		list := func(name string) (int, string) {
			req := httptest.NewRequest("POST", "https://iam.amazonaws.com/", strings.NewReader("Action=ListRoleTags&Version=2010-05-08&RoleName="+name))
			req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=X/20261122/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0")
			resp, err := f.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(body)
		}
		if status, body := list("app"); status != 200 || !strings.Contains(body, "<Key>team</Key><Value>x</Value>") {
			t.Errorf("%d %s", status, body)
		}
		if status, _ := list("other"); status != 404 {
			t.Errorf("a role that never was: %d", status)
		}
		f.Delete(role.ARN, maria)
		if status, body := list("app"); status != 404 || !strings.Contains(body, "NoSuchEntity") {
			t.Errorf("a deleted role: %d %s", status, body)
		}
	})
}

func TestAnInstanceTakesItsVolumesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{})
		launch := c.aws.Create(c.aws.Scope(), "RunInstances", maria, fakeaws.Spec{Volumes: 1})
		image := c.aws.Create(c.aws.Scope(), "CreateImage", maria, fakeaws.Spec{Of: launch.IDs("instance")[0]})
		c.aws.Delete(launch.Resources[0].ARN, maria)
		c.aws.Delete(image.Resources[0].ARN, maria)
		for _, id := range append(launch.IDs(""), image.IDs("")...) {
			r, _ := c.aws.Resource(id)
			if gone := !r.DeletedAt.IsZero(); gone == (r.Type == "snapshot") {
				t.Errorf("%s is gone: %v", id, gone)
			}
			if err := c.tag(id); (err == nil) != (r.Type == "snapshot") {
				t.Errorf("tag %s: %v", id, err)
			}
		}
	})
}

func TestEC2TokensAreBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{})
		c.aws.Create(c.aws.Scope(), "RunInstances", maria, fakeaws.Spec{Count: 7})
		out, err := c.ec2.DescribeVolumes(c.ctx, &ec2.DescribeVolumesInput{MaxResults: aws.Int32(5)})
		if err != nil || out.NextToken == nil {
			t.Fatalf("%+v, %v", out, err)
		}
		in := &ec2.DescribeVolumesInput{MaxResults: aws.Int32(6), NextToken: out.NextToken}
		if _, err := c.ec2.DescribeVolumes(c.ctx, in); code(err) != "InvalidNextToken" {
			t.Errorf("token with another page size: %v", err)
		}
	})
}

// TestPrincipals states in full what each caller's principalId looks like, since access policies compare it whole.
func TestPrincipals(t *testing.T) {
	const account = "111122223333"
	for _, tt := range []struct {
		who  fakeaws.Who
		want string // with * for the sixteen characters that identify a user or role
	}{
		{fakeaws.IAMUser("jenkins"), "AIDA*"},
		{fakeaws.SSO("maria.lopez@example.com", "Developer"), "AROA*:maria.lopez@example.com"},
		{fakeaws.Machine("github-deploy", "GitHubActions"), "AROA*:GitHubActions"},
		{fakeaws.Machine("break-glass", "aws-sdk-js-1").WithSourceIdentity("sam"), "AROA*:aws-sdk-js-1"},
		{fakeaws.Federated("carol.diaz"), "111122223333:carol.diaz"},
		{fakeaws.Root(), "111122223333"},
		{fakeaws.AutoScaling(), "AROA*:AutoScaling"},
		{fakeaws.AWSService("codebuild"), ""},
	} {
		got := tt.who.PrincipalID(account)
		if len(got) > 20 && got[:2] == "AR" {
			got = got[:4] + "*" + got[20:]
		} else if len(got) == 20 {
			got = got[:4] + "*"
		}
		if got != tt.want {
			t.Errorf("principal %q, want %q", got, tt.want)
		}
	}
}
