package awsclient

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/autotagd/autotagd/pkg/event"
)

// maxTagPages ends a reading that would go on for ever: IAM takes 50 tags, and gives up to 100 a page.
const maxTagPages = 10

// IAMTags reads the tags of an IAM resource, one attempt a page. The Resource Groups Tagging API tags IAM's resources but
// never lists them (docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/supported-services.html), so only IAM itself can say what is there. known is
// false for a kind that has no such call.
func (a *Account) IAMTags(ctx context.Context, s event.Scope, arn string) (tags map[string]string, known bool, err error) {
	if err := a.check(s); err != nil {
		return nil, false, err
	}
	read, err := a.iamReader(s, arn)
	if err != nil || read == nil {
		return nil, false, err
	}
	tags = map[string]string{}
	var marker *string
	for range maxTagPages {
		page, more, err := read(ctx, marker)
		if err != nil {
			return nil, true, err
		}
		for _, t := range page {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		if aws.ToString(more) == "" {
			return tags, true, nil
		}
		marker = more
	}
	return nil, true, fmt.Errorf("the tags of %s go on for more than %d pages", arn, maxTagPages)
}

// tagPage reads one page of tags; more is the marker of the next, if there is one.
type tagPage func(ctx context.Context, marker *string) (page []types.Tag, more *string, err error)

// iamReader returns the call for the kind of resource that arn names; nil for a kind that has none. IAM takes names for some
// kinds, which follow the path in the ARN, and ARNs for others.
func (a *Account) iamReader(s event.Scope, arn string) (tagPage, error) {
	parsed, err := event.ParseARN(arn)
	if err != nil {
		return nil, err
	}
	kind, rest, _ := strings.Cut(parsed.Resource, "/")
	name := aws.String(rest[strings.LastIndexByte(rest, '/')+1:])
	c := a.clients.iam
	in := func(o *iam.Options) { o.Region = s.Region }
	switch kind {
	case "role":
		return tagsBy(c.ListRoleTags, in, func(m *string) *iam.ListRoleTagsInput { return &iam.ListRoleTagsInput{RoleName: name, Marker: m} },
			func(o *iam.ListRoleTagsOutput) ([]types.Tag, *string) { return o.Tags, o.Marker }), nil
	case "user":
		return tagsBy(c.ListUserTags, in, func(m *string) *iam.ListUserTagsInput { return &iam.ListUserTagsInput{UserName: name, Marker: m} },
			func(o *iam.ListUserTagsOutput) ([]types.Tag, *string) { return o.Tags, o.Marker }), nil
	case "policy":
		return tagsBy(c.ListPolicyTags, in, func(m *string) *iam.ListPolicyTagsInput { return &iam.ListPolicyTagsInput{PolicyArn: &arn, Marker: m} },
			func(o *iam.ListPolicyTagsOutput) ([]types.Tag, *string) { return o.Tags, o.Marker }), nil
	case "instance-profile":
		return tagsBy(c.ListInstanceProfileTags, in, func(m *string) *iam.ListInstanceProfileTagsInput {
			return &iam.ListInstanceProfileTagsInput{InstanceProfileName: name, Marker: m}
		}, func(o *iam.ListInstanceProfileTagsOutput) ([]types.Tag, *string) { return o.Tags, o.Marker }), nil
	case "server-certificate":
		return tagsBy(c.ListServerCertificateTags, in, func(m *string) *iam.ListServerCertificateTagsInput {
			return &iam.ListServerCertificateTagsInput{ServerCertificateName: name, Marker: m}
		}, func(o *iam.ListServerCertificateTagsOutput) ([]types.Tag, *string) { return o.Tags, o.Marker }), nil
	case "oidc-provider":
		return tagsBy(c.ListOpenIDConnectProviderTags, in, func(m *string) *iam.ListOpenIDConnectProviderTagsInput {
			return &iam.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: &arn, Marker: m}
		}, func(o *iam.ListOpenIDConnectProviderTagsOutput) ([]types.Tag, *string) { return o.Tags, o.Marker }), nil
	case "saml-provider":
		return tagsBy(c.ListSAMLProviderTags, in, func(m *string) *iam.ListSAMLProviderTagsInput {
			return &iam.ListSAMLProviderTagsInput{SAMLProviderArn: &arn, Marker: m}
		}, func(o *iam.ListSAMLProviderTagsOutput) ([]types.Tag, *string) { return o.Tags, o.Marker }), nil
	case "mfa":
		return tagsBy(c.ListMFADeviceTags, in, func(m *string) *iam.ListMFADeviceTagsInput {
			return &iam.ListMFADeviceTagsInput{SerialNumber: &arn, Marker: m}
		}, func(o *iam.ListMFADeviceTagsOutput) ([]types.Tag, *string) { return o.Tags, o.Marker }), nil
	}
	return nil, nil
}

// tagsBy makes a tagPage of one of IAM's calls, which differ in nothing but their types.
func tagsBy[In, Out any](call func(context.Context, *In, ...func(*iam.Options)) (*Out, error), opt func(*iam.Options),
	input func(marker *string) *In, output func(*Out) ([]types.Tag, *string),
) tagPage {
	return func(ctx context.Context, marker *string) ([]types.Tag, *string, error) {
		out, err := call(ctx, input(marker), opt)
		if err != nil {
			return nil, nil, err
		}
		page, more := output(out)
		return page, more, nil
	}
}
