package daemon

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the Service Authorization Reference says about some actions that no rule fits, and about some that a rule does.
func TestPolicyFollowsTheReference(t *testing.T) {
	const every, us = "*", "us-east-1:111122223333"
	all := policies(t, "", "")
	for _, tt := range []struct {
		action, arn string // "*": the action has no kinds of resources, and must be allowed on all
		denied      string // what it must not be allowed on, or ""
		keyed       bool   // allowed for our keys alone
	}{
		{"acm:AddTagsToCertificate", "acm:" + us + ":certificate/1", "", true},
		{"acm:ListTagsForCertificate", "acm:" + us + ":certificate/1", "", false},
		{"acm:TagResource", "acm:" + us + ":acme-endpoint/1", "", true},
		{"aco-automation:TagResource", "compute-optimizer::111122223333:automation-rule/1", "aco-automation:" + us + ":automation-rule/1", true},
		{"agent-registry:TagResource", "agent-registry:" + us + ":registry/1", "", true},
		{"aoss:ListTagsForResource", every, "", false},
		{"aoss:TagResource", every, "", true},
		{"apigateway:GET", "apigateway:us-east-1::/restapis/1", "lambda:" + us + ":function:f", false},
		{"apigateway:PATCH", "apigateway:us-east-1::/restapis/1/stages/s", "execute-api:" + us + ":1", true},
		{"apigateway:POST", "apigateway:us-east-1::/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Fapis%2F1", "apigateway:us-east-1::/restapis", true},
		{"apigateway:PUT", "apigateway:us-east-1::/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Frestapis%2F1", "apigateway:us-east-1::/restapis/1", true},
		{"apigateway:TagResource", "apigateway:us-east-1::/apis/1/stages", "", true},
		{"applicationinsights:TagResource", every, "", true},
		{"autoscaling:CreateOrUpdateTags", "autoscaling:" + us + ":autoScalingGroup:1:autoScalingGroupName/g", "", true},
		{"autoscaling:DescribeTags", every, "", false},
		{"bcm-dashboards:TagResource", every, "", true},
		{"cassandra:TagMultiRegionResource", "cassandra:" + us + ":/keyspace/k/", "", true},
		{"cloudfront:TagResource", "cloudfront::111122223333:distribution/1", "", true},
		{"codebuild:BatchGetProjects", "codebuild:" + us + ":project/p", "lambda:" + us + ":function:f", false},
		{"codebuild:UpdateProject", "codebuild:" + us + ":project/p", "", false}, // the whole set of tags
		{"dax:TagResource", "dax:" + us + ":cache/c", "", false},
		{"ec2:CreateTags", "ec2:us-east-1::image/ami-1", "", true},
		{"elasticbeanstalk:AddTags", "elasticbeanstalk:" + us + ":application/a", "", true},
		{"elasticloadbalancing:DescribeTags", every, "", false},
		{"es:AddTags", "opensearch:" + us + ":application/1", "", true},
		{"iam:ListRoleTags", "iam::111122223333:role/r", "", false},
		{"iam:TagRole", "iam::111122223333:role/p/r", "", true},
		{"kinesisvideo:TagStream", "kinesisvideo:" + us + ":stream/s/1", "", true},
		{"mpa:TagResource", every, "", true},
		{"ram:GetResourceShares", every, "", false},
		{"route53-recovery-control-config:TagResource", "route53-recovery-control::111122223333:cluster/1", "", true},
		{"route53:ChangeTagsForResource", "route53:::hostedzone/Z1", "", false},
		{"route53domains:ListTagsForDomain", every, "", false},
		{"route53domains:UpdateTagsForDomain", every, "", false},
		{"s3:GetBucketTagging", "s3:::b", "", false},
		{"s3:PutBucketTagging", "s3:::b", "s3:" + us + ":accesspoint/a", false},
		{"s3:TagResource", "s3:" + us + ":accesspoint/a", "", true},
		{"secretsmanager:DescribeSecret", "secretsmanager:" + us + ":secret:s", "lambda:" + us + ":function:f", false},
		{"securityhub:TagResource", "securityhub:" + us + ":hub/default", "", false},
		{"servicecatalog:DescribePortfolio", "catalog:" + us + ":portfolio/1", "", false},
		{"servicecatalog:UpdateProduct", "catalog:" + us + ":product/1", "", true}, // it takes tags to add
		{"servicediscovery:TagResource", every, "", true},
		{"sqs:ListQueueTags", "sqs:" + us + ":q", "", false},
		{"sqs:TagQueue", "sqs:" + us + ":q", "", true},
		{"supportauthz:TagResource", "supportauthz:" + us + ":supportpermit/1", "", true},
		{"transcribe:TagResource", every, "", true},
		{"workspaces:CreateTags", every, "", true},
		{"workspaces:DescribeTags", every, "", false},
	} {
		t.Run(tt.action, func(t *testing.T) {
			s := statementOf(all, tt.action)
			switch {
			case s == nil:
				t.Fatal("not allowed")
			case tt.arn == every && !slices.Equal(s.Resource, []string{every}):
				t.Errorf("restricted to %v", s.Resource)
			case tt.arn != every && !s.covers("arn:aws:"+tt.arn):
				t.Errorf("not allowed on %s", tt.arn)
			case tt.denied != "" && s.covers("arn:aws:"+tt.denied):
				t.Errorf("allowed on %s", tt.denied)
			case tt.keyed != (s.Condition != nil):
				t.Errorf("condition %v", s.Condition)
			}
		})
	}
	for _, action := range []string{
		"cassandra:ListTagsForResource",          // there is none
		"cassandra:Select",                       // which authorises it, and reads every table
		"elasticbeanstalk:UpdateTagsForResource", // allows nothing
	} {
		if statementOf(all, action) != nil {
			t.Errorf("%s is allowed", action)
		}
	}
}

// Each row alone: the ARNs of another row's service must not be what makes a policy work.
func TestPolicyOfOneEvent(t *testing.T) {
	for _, tt := range []struct{ event, action, arn string }{
		{"CreateSafetyRule", "route53-recovery-control-config:TagResource", "arn:aws:route53-recovery-control:*:*:*"},
		{"CreatePortfolio", "servicecatalog:UpdatePortfolio", "arn:aws:catalog:*:*:*"},
		{"CreateAutomationRule", "aco-automation:TagResource", "arn:aws:compute-optimizer:*:*:*"},
		{"CreateSupportPermit", "supportauthz:TagResource", "arn:aws:supportauthz:*:*:*"},
	} {
		s := statementOf(policies(t, "filters: ['event.name == \""+tt.event+"\"']", ""), tt.action)
		if s == nil || !slices.Contains(s.Resource, tt.arn) {
			t.Errorf("%s: %+v, want %s on %s", tt.event, s, tt.action, tt.arn)
		}
	}
}

func statementOf(all []Policy, action string) *Statement {
	for _, p := range all {
		for i, s := range p.Statement {
			if slices.Contains(s.Action, action) {
				return &p.Statement[i]
			}
		}
	}
	return nil
}

// covers reports whether one of the statement's resources is, or stands for, the ARN.
func (s *Statement) covers(arn string) bool {
	return slices.ContainsFunc(s.Resource, func(resource string) bool {
		form := strings.ReplaceAll(regexp.QuoteMeta(resource), `\*`, ".*")
		return regexp.MustCompile("^" + form + "$").MatchString(arn)
	})
}
