package fakeaws_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

// write tags a resource as the program under test does.
func (c *clients) write(r fakeaws.Resource, tags map[string]string) {
	c.Helper()
	var err error
	if r.Service == "ec2" {
		in := &ec2.CreateTagsInput{Resources: []string{r.ID}}
		for k, v := range tags {
			in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(v)})
		}
		_, err = c.ec2.CreateTags(c.ctx, in)
	} else {
		_, err = c.tags.TagResources(c.ctx, &tagging.TagResourcesInput{ResourceARNList: []string{r.ARN}, Tags: tags})
	}
	if err != nil {
		c.Fatal(err)
	}
}

func TestAudit(t *testing.T) {
	const account = fakeaws.DefaultAccount
	john := fakeaws.IAMUser("john")
	both := func(w fakeaws.Who) map[string]string {
		return map[string]string{"Owner": w.Owner, "PrincipalId": w.PrincipalID(account)}
	}
	volume := func(c *clients, who fakeaws.Who, spec ...fakeaws.Spec) fakeaws.Resource {
		return c.aws.Create(c.aws.Scope(), "CreateVolume", who, spec...).Resources[0]
	}
	rule := func(c *clients, who fakeaws.Who) fakeaws.Resource {
		r := c.aws.Create(c.aws.Scope(), "PutRule", who, fakeaws.Spec{Name: "nightly"}).Resources[0]
		c.aws.Create(c.aws.Scope(), "PutRule", john, fakeaws.Spec{Name: "nightly"})
		return r
	}
	for name, tt := range map[string]struct {
		do   func(*clients)
		want []string
	}{
		"nothing was done": {func(c *clients) { volume(c, maria) }, []string{"untagged", "untagged"}},
		"tagged":           {func(c *clients) { c.write(volume(c, maria), both(maria)) }, nil},
		"tagged twice": {func(c *clients) {
			v := volume(c, maria)
			c.write(v, both(maria))
			time.Sleep(time.Hour)
			c.write(v, both(maria))
		}, nil},
		"tagged with another": {func(c *clients) { c.write(volume(c, maria), both(john)) }, []string{"wrong owner", "wrong owner", "wrong owner"}},
		"another key": {func(c *clients) {
			v := volume(c, maria)
			c.write(v, both(maria))
			c.write(v, map[string]string{"X": "y"})
		}, []string{"wrong key"}},
		"a service's":         {func(c *clients) { volume(c, fakeaws.AutoScaling()) }, nil},
		"a service's, tagged": {func(c *clients) { c.write(volume(c, fakeaws.AutoScaling()), map[string]string{"Owner": "autoscaling"}) }, []string{"touched"}},
		"another account's, tagged": {func(c *clients) {
			c.write(volume(c, fakeaws.OtherAccount("999988887777")), map[string]string{"Owner": "x"})
		}, []string{"touched"}},
		"deleted untagged": {func(c *clients) { c.aws.Delete(volume(c, maria).ARN, maria) }, nil},
		"own tag kept": {func(c *clients) {
			c.write(volume(c, maria, fakeaws.Spec{Tags: map[string]string{"Owner": "us"}}), map[string]string{"PrincipalId": maria.PrincipalID(account)})
		}, nil},
		"own tag overwritten": {func(c *clients) {
			v := volume(c, maria, fakeaws.Spec{HiddenTags: map[string]string{"Owner": "us"}})
			time.Sleep(time.Minute)
			c.write(v, both(maria))
		}, []string{"overwritten"}},
		"own tag set between read and write": {func(c *clients) {
			v := volume(c, maria)
			c.aws.Tag(v.ARN, maria, map[string]string{"Owner": "us"})
			time.Sleep(20 * time.Second)
			c.write(v, both(maria))
		}, nil},
		"own tag set after ours": {func(c *clients) {
			v := volume(c, maria)
			c.write(v, both(maria))
			c.aws.Tag(v.ARN, maria, map[string]string{"Owner": "us"})
		}, nil},
		"upsert of two, the first's":  {func(c *clients) { c.write(rule(c, maria), both(maria)) }, nil},
		"upsert of two, the second's": {func(c *clients) { c.write(rule(c, maria), both(john)) }, nil},
		"upsert of two, mixed": {func(c *clients) {
			c.write(rule(c, maria), map[string]string{"Owner": "john", "PrincipalId": maria.PrincipalID(account)})
		}, []string{"wrong owner"}},
		"upsert with an own tag, untouched": {func(c *clients) { c.aws.Tag(rule(c, maria).ARN, maria, map[string]string{"Owner": "us"}) }, nil},
		"out of reach": {func(c *clients) {
			c.aws.Create(c.aws.Scope(), "CreateStack", maria)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := connect(t, fakeaws.Config{Visibility: -1})
				tt.do(c)
				var got []string
				for _, p := range c.aws.Audit(0) {
					got = append(got, p.What)
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("%v, want %v", c.aws.Audit(0), tt.want)
				}
				for _, p := range c.aws.Audit(time.Minute) {
					if p.What == "untagged" {
						t.Errorf("within the grace: %s", p)
					}
				}
			})
		})
	}
}
