package daemon

import "github.com/autotagd/autotagd/pkg/resource"

// lacking has what moto can't do of what TestTagCallsAtMoto tries, and why: a service, or one kind by the name of its create
// event, or one call, or one call for one kind. What moto learns is to be taken out: the test says so.
func lacking() map[string]string {
	all := map[string]string{
		"codecommit":       "ListTagsForResource is not implemented",
		"cognito-identity": "ListTagsForResource is not implemented",
		"cognito-idp":      "ListTagsForResource is not implemented",
		"connectcampaigns": "has the first version alone, and the records of the two look the same",
		"datasync":         "ListTagsForResource is not implemented",
		"glacier":          "ListTagsForVault is not implemented",
		"transfer":         "ListTagsForResource is not implemented",

		"iam CreateSAMLProvider":      "ListSAMLProviderTags is not implemented",
		"iam CreateVirtualMFADevice":  "ListMFADeviceTags is not implemented",
		"iam UploadServerCertificate": "ListServerCertificateTags is not implemented",
		"s3vectors CreateIndex":       "the answer lacks the ARN",

		"codebuild codebuild:UpdateProject": "not implemented",
		"dms dms:AddTagsToResource":         "not implemented",
		"iam iam:ListInstanceProfileTags":   "not implemented",
	}
	// What the Resource Groups Tagging API of moto doesn't know; what it lists and can't tag; and buckets it takes others for.
	for _, name := range []string{
		"acm-pca", "appconfig", "appmesh", "batch", "cloudhsmv2", "cloudtrail", "codebuild", "codepipeline", "config", "ecr", "eks", "emr",
		"iam", "kinesis", "mediaconnect", "mq", "networkmanager", "opensearch", "organizations", "pinpoint", "redshift", "resource-groups",
		"route53", "route53resolver", "servicediscovery", "wafv2",
		"elasticbeanstalk", "elb", "elbv2 CreateListener", "elbv2 CreateRule", "elbv2 CreateTargetGroup", "ssm",
		"s3control",
	} {
		all[name+" "+string(resource.TagResources)] = "TagResources has no such kind"
	}
	return all
}
