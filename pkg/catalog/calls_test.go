package catalog_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/resource"
)

// What the services' own calls know a resource by, where that is something else than its ARN, and where it lives.
func TestServicesThatNeedCare(t *testing.T) {
	c := load(t)
	type params = map[string]string
	for _, tt := range []struct {
		name, event, region string
		request, response   string
		want                []params // one for each own call of the row, in its order
		scope               string
	}{
		{
			"a bucket: by S3 Control, which adds tags, then by name", "s3:CreateBucket", "eu-west-1", `{"bucketName":"b"}`, `null`,
			[]params{{"AccountId": "111122223333", "ResourceArn": "arn:aws:s3:::b"}, {"Bucket": "b"}},
			"eu-west-1",
		},
		{
			"a bucket elsewhere", "s3:CreateBucket", "us-east-1", `{"bucketName":"b","CreateBucketConfiguration":{"LocationConstraint":"EU"}}`, `null`,
			[]params{{"AccountId": "111122223333", "ResourceArn": "arn:aws:s3:::b"}, {"Bucket": "b"}},
			"eu-west-1",
		},
		{
			"an Auto Scaling group: in each tag", "autoscaling:CreateAutoScalingGroup", "eu-west-1", `{"autoScalingGroupName":"g"}`, `null`,
			[]params{{"Tags[].ResourceId": "g", "Tags[].ResourceType": "auto-scaling-group", "Tags[].PropagateAtLaunch": "false"}},
			"eu-west-1",
		},
		{
			"a queue: by URL", "sqs:CreateQueue", "eu-west-1", `{"queueName":"q"}`, `{"queueUrl":"https://sqs.eu-west-1.amazonaws.com/111122223333/q"}`,
			[]params{{"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/q"}},
			"eu-west-1",
		},
		{
			"a queue in China", "sqs:CreateQueue", "cn-north-1", `{"queueName":"q"}`, `null`,
			[]params{{"QueueUrl": "https://sqs.cn-north-1.amazonaws.com.cn/111122223333/q"}},
			"cn-north-1",
		},
		{
			"a hosted zone: by its bare id", "route53:CreateHostedZone", "us-east-1", `{}`, `{"hostedZone":{"id":"/hostedzone/Z1"}}`,
			[]params{{"ResourceType": "hostedzone", "ResourceId": "Z1"}},
			"us-east-1",
		},
		{
			"a health check", "route53:CreateHealthCheck", "us-east-1", `{}`, `{"healthCheck":{"id":"0a1b"}}`,
			[]params{{"ResourceType": "healthcheck", "ResourceId": "0a1b"}},
			"us-east-1",
		},
		{
			"a log group: without the asterisk", "logs:CreateLogGroup", "eu-west-1", `{"logGroupName":"/aws/lambda/f"}`, `null`,
			[]params{{"resourceArn": "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/f"}},
			"eu-west-1",
		},
		{
			"a role: by name, without the path", "iam:CreateRole", "us-east-1", `{"roleName":"deploy","path":"/team/x/"}`, `{"role":{"roleName":"deploy","arn":"arn:aws:iam::111122223333:role/team/x/deploy"}}`,
			[]params{{"RoleName": "deploy"}},
			"us-east-1",
		},
		{
			"a user with a path", "iam:CreateUser", "us-east-1", `{"userName":"ann","path":"/a/"}`, `{"user":{"userName":"ann","arn":"arn:aws:iam::111122223333:user/a/ann"}}`,
			[]params{{"UserName": "ann"}},
			"us-east-1",
		},
		{
			"a policy: by ARN", "iam:CreatePolicy", "us-east-1", `{"policyName":"read"}`, `{"policy":{"policyName":"read","arn":"arn:aws:iam::111122223333:policy/team/read"}}`,
			[]params{{"PolicyArn": "arn:aws:iam::111122223333:policy/team/read"}},
			"us-east-1",
		},
		{
			"a replica key: in its own Region", "kms:ReplicateKey", "us-east-1", `{}`, `{"replicaKeyMetadata":{"keyId":"mrk-1","arn":"arn:aws:kms:eu-west-1:111122223333:key/mrk-1"}}`,
			[]params{{"KeyId": "mrk-1"}},
			"eu-west-1",
		},
		{
			"a parameter: with its slash", "ssm:PutParameter", "eu-west-1", `{"name":"/a/b"}`, `{"version":1}`,
			[]params{{"ResourceType": "Parameter", "ResourceId": "/a/b"}},
			"eu-west-1",
		},
		{
			"a document", "ssm:CreateDocument", "eu-west-1", `{"name":"d"}`, `{"documentDescription":{"name":"d"}}`,
			[]params{{"ResourceType": "Document", "ResourceId": "d"}},
			"eu-west-1",
		},
		{
			"an accelerator", "globalaccelerator:CreateAccelerator", "us-west-2", `{}`, `{"accelerator":{"acceleratorArn":"arn:aws:globalaccelerator::111122223333:accelerator/a"}}`,
			[]params{{"ResourceArn": "arn:aws:globalaccelerator::111122223333:accelerator/a"}},
			"us-west-2",
		},
		{
			"a project: by name", "codebuild:CreateProject", "eu-west-1", `{"name":"p"}`, `{"project":{"name":"p","arn":"arn:aws:codebuild:eu-west-1:111122223333:project/p"}}`,
			[]params{{"name": "p"}},
			"eu-west-1",
		},
		{
			"a secret: by ARN first, for another may have its name by now", "secretsmanager:CreateSecret", "eu-west-1", `{"name":"prod/db"}`, `{"arn":"arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbCdEf","name":"prod/db"}`,
			[]params{{"SecretId": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbCdEf"}, {"SecretId": "prod/db"}},
			"eu-west-1",
		},
		{
			"a secret whose ARN is not known: by name", "secretsmanager:CreateSecret", "eu-west-1", `{"name":"prod/db"}`, `null`,
			[]params{{"SecretId": "prod/db"}},
			"eu-west-1",
		},
		{
			"a permission set: with its instance", "sso:CreatePermissionSet", "eu-west-1", `{"instanceArn":"arn:aws:sso:::instance/ssoins-1","name":"p"}`, `{"permissionSet":{"permissionSetArn":"arn:aws:sso:::permissionSet/ssoins-1/ps-1"}}`,
			[]params{{"ResourceArn": "arn:aws:sso:::permissionSet/ssoins-1/ps-1", "InstanceArn": "arn:aws:sso:::instance/ssoins-1"}},
			"eu-west-1",
		},
		{
			"a vault: with its account", "glacier:CreateVault", "eu-west-1", `{"vaultName":"v"}`, `null`,
			[]params{{"accountId": "111122223333", "vaultName": "v"}},
			"eu-west-1",
		},
		{
			"GovCloud's ARNs", "sns:CreateTopic", "us-gov-west-1", `{"name":"t"}`, `{"topicArn":"arn:aws-us-gov:sns:us-gov-west-1:111122223333:t"}`,
			[]params{{"ResourceArn": "arn:aws-us-gov:sns:us-gov-west-1:111122223333:t"}},
			"us-gov-west-1",
		},
		{
			"a call that lacks what it takes", "sso:CreatePermissionSet", "eu-west-1", `{}`, `{"permissionSet":{"permissionSetArn":"arn:aws:sso:::permissionSet/ssoins-1/ps-1"}}`,
			nil, "eu-west-1",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			service, event, _ := strings.Cut(tt.event, ":")
			r := parse(t, `{"eventSource":"`+service+`.amazonaws.com","eventName":"`+event+`","awsRegion":"`+tt.region+`","recipientAccountId":"111122223333",`+
				`"requestParameters":`+tt.request+`,"responseElements":`+tt.response+`}`)
			result, ok := c.Resolve(r)
			if !ok || len(result.Resources) != 1 {
				t.Fatalf("%+v", result)
			}
			res := result.Resources[0]
			var got []params
			for _, call := range res.Own {
				got = append(got, call.Params)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if res.Scope.Region != tt.scope {
				t.Errorf("lives in %s, want %s", res.Scope.Region, tt.scope)
			}
		})
	}
}

// Of what a call does beside tagging the catalog knows the rest: how it reads, and whether it replaces.
func TestOwnCallsOfABucket(t *testing.T) {
	result, _ := load(t).Resolve(record(t, "s3:CreateBucket", `{"bucketName":"b"}`, `null`))
	res := result.Resources[0]
	if res.TagAPI != resource.TagResources || catalog.Problem(res) != "" {
		t.Errorf("%+v", res)
	}
	want := []resource.Call{
		{API: "s3:TagResource", Params: map[string]string{"AccountId": "111122223333", "ResourceArn": "arn:aws:s3:::b"}, Read: "s3:ListTagsForResource"},
		{API: "s3:PutBucketTagging", Params: map[string]string{"Bucket": "b"}, Read: "s3:GetBucketTagging", Replaces: "all"},
	}
	if diff := cmp.Diff(want, res.Own); diff != "" {
		t.Error(diff)
	}
}

// Nearly every row has a tag call that works, and the others say why they have none.
func TestShareOfRowsWithATagCall(t *testing.T) {
	c := load(t)
	total, none := 0, 0
	for _, p := range c.Pairs() {
		total++
		if p.TagAPI == resource.NoTagAPI {
			none++
		}
	}
	if share := 1 - float64(none)/float64(total); share < 0.97 {
		t.Errorf("%.1f %% of %d event pairs have a tag call, want 97 %%", 100*share, total)
	}
	t.Logf("%d of %d event pairs have a tag call", total-none, total)
}

// What the rows say about calls whose parameters are neither plainly the ARN nor plainly the id, and about services that tag
// their kinds of resources by different calls.
func TestOwnCallsKnowTheResource(t *testing.T) {
	c := load(t)
	const here = ":eu-west-1:111122223333:"
	for _, tt := range []struct {
		call, request, response, wantARN, api string
		params                                map[string]string // nil: no call can be made
	}{
		{
			"acm:RequestCertificate", `{}`, `{"certificateArn":"arn:aws:acm` + here + `certificate/c"}`, "arn:aws:acm" + here + "certificate/c",
			"acm:AddTagsToCertificate",
			map[string]string{"CertificateArn": "arn:aws:acm" + here + "certificate/c"},
		},
		{
			"acm:CreateAcmeEndpoint", `{}`, `{"acmeEndpointArn":"arn:aws:acm` + here + `acme-endpoint/e"}`, "arn:aws:acm" + here + "acme-endpoint/e",
			"acm:TagResource",
			map[string]string{"ResourceArn": "arn:aws:acm" + here + "acme-endpoint/e"},
		},
		{
			"kinesisvideo:CreateStream", `{"streamName":"s"}`, `{"streamARN":"arn:aws:kinesisvideo` + here + `stream/s/1"}`, "arn:aws:kinesisvideo" + here + "stream/s/1",
			"kinesisvideo:TagStream",
			map[string]string{"StreamARN": "arn:aws:kinesisvideo" + here + "stream/s/1"},
		},
		{"kinesisvideo:CreateStream", `{"streamName":"s"}`, `null`, "", "kinesisvideo:TagStream", nil},
		{
			"organizations:CreatePolicy", `{"name":"n"}`, `{"policy":{"policySummary":{"id":"p-1","arn":"arn:aws:organizations::111122223333:policy/o-1/tag_policy/p-1"}}}`,
			"arn:aws:organizations::111122223333:policy/o-1/tag_policy/p-1", "organizations:TagResource",
			map[string]string{"ResourceId": "p-1"},
		},
		{
			"elasticmapreduce:StartSession", `{"clusterId":"j-1"}`, `{"id":"s-1","arn":"arn:aws:elasticmapreduce` + here + `cluster/j-1/session/s-1"}`,
			"arn:aws:elasticmapreduce" + here + "cluster/j-1/session/s-1", "elasticmapreduce:AddTags",
			map[string]string{"ResourceId": "s-1", "ClusterId": "j-1"},
		},
		{
			"ssm:CreateOpsMetadata", `{"resourceId":"App"}`, `{"opsMetadataArn":"arn:aws:ssm` + here + `opsmetadata/aws/ssm/App/appmanager"}`,
			"arn:aws:ssm" + here + "opsmetadata/aws/ssm/App/appmanager", "ssm:AddTagsToResource",
			map[string]string{"ResourceType": "OpsMetadata", "ResourceId": "/aws/ssm/App/appmanager"},
		},
		{
			"pi:CreatePerformanceAnalysisReport", `{"serviceType":"DOCDB","identifier":"db-1"}`, `{"analysisReportId":"report-1"}`, "arn:aws:pi" + here + "perf-reports/DOCDB/db-1/report-1",
			"pi:TagResource",
			map[string]string{"ServiceType": "DOCDB", "ResourceARN": "arn:aws:pi" + here + "perf-reports/DOCDB/db-1/report-1"},
		},
		{
			"timestream-influxdb:RestoreFromDbBackup", `{}`, `{"restoredDbResourceId":"r","resourceType":"DB_CLUSTER"}`, "arn:aws:timestream-influxdb" + here + "db-cluster/r",
			"timestream-influxdb:TagResource",
			map[string]string{"resourceArn": "arn:aws:timestream-influxdb" + here + "db-cluster/r"},
		},
		{
			"timestream-influxdb:RestoreFromDbBackup", `{}`, `{"restoredDbResourceId":"r","resourceType":"DB_INSTANCE"}`, "arn:aws:timestream-influxdb" + here + "db-instance/r",
			"timestream-influxdb:TagResource",
			map[string]string{"resourceArn": "arn:aws:timestream-influxdb" + here + "db-instance/r"},
		},
		{
			"lambda:CreateNetworkConnector", `{}`, `{"arn":"arn:aws:lambda` + here + `network-connector:n"}`, "arn:aws:lambda" + here + "network-connector:n",
			"lambda:TagResource",
			map[string]string{"Resource": "arn:aws:lambda" + here + "network-connector:n"},
		},
		{
			"bedrock:CreateAutomatedReasoningPolicyVersion", `{"policyArn":"arn:aws:bedrock` + here + `automated-reasoning-policy/p"}`, `{"policyArn":"arn:aws:bedrock` + here + `automated-reasoning-policy/p:2","version":"2"}`,
			"arn:aws:bedrock" + here + "automated-reasoning-policy/p:2", "bedrock:TagResource",
			map[string]string{"resourceARN": "arn:aws:bedrock" + here + "automated-reasoning-policy/p:2"},
		},
	} {
		t.Run(tt.call, func(t *testing.T) {
			result, ok := c.Resolve(record(t, tt.call, tt.request, tt.response))
			if !ok || len(result.Resources) != 1 {
				t.Fatalf("%+v, %v", result, ok)
			}
			res := result.Resources[0]
			if res.ARN != tt.wantARN {
				t.Errorf("ARN %q, want %q", res.ARN, tt.wantARN)
			}
			var got map[string]string
			for _, call := range res.Own {
				if string(call.API) == tt.api {
					got = call.Params
				}
			}
			if diff := cmp.Diff(tt.params, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.api, diff)
			}
		})
	}
}

// What an earlier release kept of a resource had no own calls. Where its names say all that they take, they are added.
func TestComplete(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		call, request, response string
		same                    bool // as from the record
	}{
		{"iam:CreateRole", `{"roleName":"deploy","path":"/team/"}`, `{"role":{"roleName":"deploy","arn":"arn:aws:iam::111122223333:role/team/deploy"}}`, true},
		{"iam:CreatePolicy", `{"policyName":"read"}`, `{"policy":{"policyName":"read","arn":"arn:aws:iam::111122223333:policy/read"}}`, true},
		{"iam:CreateVirtualMFADevice", `{}`, `{"virtualMFADevice":{"serialNumber":"arn:aws:iam::111122223333:mfa/ann"}}`, true},
		{"s3:CreateBucket", `{"bucketName":"b"}`, `null`, true},
		{"ssm:PutParameter", `{"name":"/a/b"}`, `{"version":1}`, false}, // the record has its slash
		{"ec2:CreateVolume", `{}`, `{"volumeId":"vol-1"}`, true},
	} {
		t.Run(tt.call, func(t *testing.T) {
			result, ok := c.Resolve(record(t, tt.call, tt.request, tt.response))
			if !ok || len(result.Resources) != 1 {
				t.Fatalf("%+v, %v", result, ok)
			}
			source, name, _ := strings.Cut(tt.call, ":")
			source += ".amazonaws.com"
			want, got := result.Resources[0], result.Resources[0]
			got.Own = nil
			c.Complete(source, name, &got)
			if !tt.same {
				want.Own = nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			given := []resource.Call{{API: "x:Y"}}
			got.Own = given
			if c.Complete(source, name, &got); !cmp.Equal(got.Own, given) {
				t.Errorf("%v instead of what was there", got.Own)
			}
		})
	}
}
