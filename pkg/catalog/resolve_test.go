package catalog_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

func parse(t testing.TB, s string) *event.Record {
	t.Helper()
	r, err := event.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// record makes one of a call in 111122223333/eu-west-1.
func record(t testing.TB, call, request, response string) *event.Record {
	t.Helper()
	source, name, _ := strings.Cut(call, ":")
	return parse(t, fmt.Sprintf(`{"eventID":"e-1","eventSource":"%s.amazonaws.com","eventName":%q,"awsRegion":"eu-west-1","recipientAccountId":"111122223333","requestParameters":%s,"responseElements":%s}`, source, name, request, response))
}

func arns(result catalog.Result) []string {
	var all []string
	for _, r := range result.Resources {
		all = append(all, r.ARN)
	}
	return all
}

func ids(result catalog.Result) []string {
	var all []string
	for _, r := range result.Resources {
		all = append(all, r.ID)
	}
	return all
}

func TestResolveNamesTheResource(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		name, call, request, response string
		want                          string // ARNs, a space between
		wantIDs                       string // "": not compared
	}{
		{"the operation's id is not the resource's", "lightsail:CreateInstances", `{"instanceNames":["WordPress-1"]}`, `{"operations":[{"id":"1bb06a5d","resourceName":"WordPress-1","resourceType":"Instance"}]}`, "", "WordPress-1"},
		{"an upstream is not what was made", "codeartifact:CreateRepository", `{}`, `{"repository":{"name":"mine","domainName":"d","upstreams":[{"repositoryName":"npm-store"}]}}`, "arn:aws:codeartifact:eu-west-1:111122223333:repository/d/mine", "mine"},
		{"the destination's channel is another", "medialive:CreateChannel", `{}`, `{"channel":{"arn":"arn:aws:medialive:eu-west-1:111122223333:channel:123","id":"123","destinations":[{"mediaPackageSettings":[{"channelId":"other"}]}]}}`, "arn:aws:medialive:eu-west-1:111122223333:channel:123", "123"},
		{"a pipeline by its request", "codepipeline:CreatePipeline", `{"pipeline":{"name":"p"}}`, `null`, "arn:aws:codepipeline:eu-west-1:111122223333:p", "p"},
		{"EC2, plain", "ec2:CreateVpc", `{}`, `{"vpc":{"vpcId":"vpc-1"}}`, "arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-1", "vpc-1"},
		{"EC2, wrapped", "ec2:CreateNatGateway", `{}`, `{"CreateNatGatewayResponse":{"natGateway":{"natGatewayId":"nat-1"}}}`, "arn:aws:ec2:eu-west-1:111122223333:natgateway/nat-1", "nat-1"},
		{"EC2, a call that is wrapped, yet plain", "ec2:CreateNatGateway", `{}`, `{"natGateway":{"natGatewayId":"nat-1"}}`, "arn:aws:ec2:eu-west-1:111122223333:natgateway/nat-1", "nat-1"},
		{"EC2, a plain call, yet wrapped", "ec2:CreateVpc", `{}`, `{"CreateVpcResponse":{"vpc":{"vpcId":"vpc-1"}}}`, "arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-1", "vpc-1"},
		{"EC2, wrapped, one string for a list", "ec2:CreateFlowLogs", `{}`, `{"CreateFlowLogsResponse":{"flowLogIdSet":{"item":"fl-1"}}}`, "arn:aws:ec2:eu-west-1:111122223333:vpc-flow-log/fl-1", "fl-1"},
		{"EC2, wrapped, a list", "ec2:CreateFlowLogs", `{}`, `{"CreateFlowLogsResponse":{"flowLogIdSet":{"item":["fl-1","fl-2"]}}}`, "arn:aws:ec2:eu-west-1:111122223333:vpc-flow-log/fl-1 arn:aws:ec2:eu-west-1:111122223333:vpc-flow-log/fl-2", "fl-1 fl-2"},
		{"EC2, wrapped, one object for a list", "ec2:CreateSnapshots", `{}`, `{"CreateSnapshotsResponse":{"snapshotSet":{"item":{"snapshotId":"snap-1"}}}}`, "arn:aws:ec2:eu-west-1::snapshot/snap-1", "snap-1"},
		{"EC2 says whose it is", "ec2:CreateNetworkInterface", `{}`, `{"networkInterface":{"networkInterfaceId":"eni-1","ownerId":"444455556666"}}`, "arn:aws:ec2:eu-west-1:444455556666:network-interface/eni-1", "eni-1"},
		{"EC2, wrapped, says whose they are", "ec2:CreateSubnet", `{}`, `{"CreateSubnetResponse":{"subnet":{"subnetId":"subnet-1","ownerId":444455556666}}}`, "arn:aws:ec2:eu-west-1:444455556666:subnet/subnet-1", "subnet-1"},
		{"an owner that is no account", "ec2:CreateVpc", `{}`, `{"vpc":{"vpcId":"vpc-1","ownerId":"amazon"}}`, "arn:aws:ec2:eu-west-1:111122223333:vpc/vpc-1", "vpc-1"},
		{"snapshots have no account in their ARN", "ec2:CreateSnapshot", `{}`, `{"snapshotId":"snap-1"}`, "arn:aws:ec2:eu-west-1::snapshot/snap-1", "snap-1"},
		{"images neither", "ec2:CreateImage", `{}`, `{"imageId":"ami-1"}`, "arn:aws:ec2:eu-west-1::image/ami-1", "ami-1"},
		{"bucket", "s3:CreateBucket", `{"bucketName":"b"}`, `null`, "arn:aws:s3:::b", "b"},
		{"dated event name", "lambda:CreateFunction20150331", `{}`, `{"functionArn":"arn:aws:lambda:eu-west-1:111122223333:function:f","functionName":"f"}`, "arn:aws:lambda:eu-west-1:111122223333:function:f", "f"},
		{"a date that the table lacks", "lambda:CreateFunction20301231v9", `{}`, `{"functionArn":"arn:aws:lambda:eu-west-1:111122223333:function:f","functionName":"f"}`, "arn:aws:lambda:eu-west-1:111122223333:function:f", "f"},
		{"classic load balancer", "elasticloadbalancing:CreateLoadBalancer", `{"loadBalancerName":"lb"}`, `{"dNSName":"lb-1.elb.amazonaws.com"}`, "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/lb", "lb"},
		{"new load balancer", "elasticloadbalancing:CreateLoadBalancer", `{"name":"lb"}`, `{"loadBalancers":[{"loadBalancerArn":"arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/lb/50dc6c495c0c9188","loadBalancerName":"lb"}]}`, "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/lb/50dc6c495c0c9188", "lb"},
		{"API Gateway v1 stage", "apigateway:CreateStage", `{"restApiId":"abc","createStageInput":{"stageName":"prod"}}`, `null`, "arn:aws:apigateway:eu-west-1::/restapis/abc/stages/prod", "prod"},
		{"API Gateway v2 stage", "apigateway:CreateStage", `{"apiId":"abc"}`, `{"stageName":"prod"}`, "arn:aws:apigateway:eu-west-1::/apis/abc/stages/prod", "prod"},
		{"IAM path", "iam:CreateRole", `{"roleName":"r","path":"/app/"}`, `null`, "arn:aws:iam::111122223333:role/app/r", "r"},
		{"IAM without a path", "iam:CreateUser", `{"userName":"u"}`, `null`, "arn:aws:iam::111122223333:user/u", "u"},
		{"parameter in a tree", "ssm:PutParameter", `{"name":"/a/b"}`, `{"version":1}`, "arn:aws:ssm:eu-west-1:111122223333:parameter/a/b", "a/b"},
		{"parameter without a slash", "ssm:PutParameter", `{"name":"a"}`, `{"version":1}`, "arn:aws:ssm:eu-west-1:111122223333:parameter/a", "a"},
		{"RDS stores names in lower case", "rds:CreateDBSnapshot", `{"dBSnapshotIdentifier":"Nightly"}`, `null`, "arn:aws:rds:eu-west-1:111122223333:snapshot:nightly", "nightly"},
		{"ElastiCache too", "elasticache:CreateCacheCluster", `{"cacheClusterId":"MyCache"}`, `{}`, "arn:aws:elasticache:eu-west-1:111122223333:cluster:mycache", "mycache"},
		{"Redshift too", "redshift:CreateClusterSnapshot", `{"clusterIdentifier":"C","snapshotIdentifier":"S"}`, `null`, "arn:aws:redshift:eu-west-1:111122223333:snapshot:c/s", "s"},
		{"a copy is the target", "rds:CopyDBSnapshot", `{"sourceDBSnapshotIdentifier":"arn:aws:rds:eu-west-1:111122223333:snapshot:old","targetDBSnapshotIdentifier":"new"}`, `null`, "arn:aws:rds:eu-west-1:111122223333:snapshot:new", "new"},
		{"RDS without the outer member", "rds:CreateDBInstanceReadReplica", `{}`, `{"dBInstance":{"dBInstanceArn":"arn:aws:rds:eu-west-1:111122223333:db:d"}}`, "arn:aws:rds:eu-west-1:111122223333:db:d", "d"},
		{"an outer member left out", "ecs:CreateCluster", `{}`, `{"clusterArn":"arn:aws:ecs:eu-west-1:111122223333:cluster/c"}`, "arn:aws:ecs:eu-west-1:111122223333:cluster/c", "c"},
		{"an outer member left out, and no ARN", "route53:CreateHealthCheck", `{}`, `{"id":"hc-1"}`, "arn:aws:route53:::healthcheck/hc-1", "hc-1"},
		{"keys in another case", "secretsmanager:CreateSecret", `{"name":"s"}`, `{"ARN":"arn:aws:secretsmanager:eu-west-1:111122223333:secret:s-AbCdEf"}`, "arn:aws:secretsmanager:eu-west-1:111122223333:secret:s-AbCdEf", ""},
		{"secret without a response", "secretsmanager:CreateSecret", `{"name":"s"}`, `null`, "", "s"},
		{"Auto Scaling group", "autoscaling:CreateAutoScalingGroup", `{"autoScalingGroupName":"g"}`, `null`, "", "g"},
		{"log group", "logs:CreateLogGroup", `{"logGroupName":"/aws/lambda/f"}`, `null`, "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/f", "/aws/lambda/f"},
		{"queue", "sqs:CreateQueue", `{"queueName":"q"}`, `{"queueUrl":"https://sqs.eu-west-1.amazonaws.com/111122223333/q"}`, "arn:aws:sqs:eu-west-1:111122223333:q", "q"},
		{"hosted zone", "route53:CreateHostedZone", `{}`, `{"hostedZone":{"id":"/hostedzone/Z1"}}`, "arn:aws:route53:::hostedzone/Z1", "Z1"},
		{"rule on the default bus", "events:PutRule", `{"name":"r","eventBusName":"default"}`, `null`, "arn:aws:events:eu-west-1:111122223333:rule/r", "r"},
		{"rule without a bus", "events:PutRule", `{"name":"r"}`, `null`, "arn:aws:events:eu-west-1:111122223333:rule/r", "r"},
		{"rule on another bus", "events:PutRule", `{"name":"r","eventBusName":"b"}`, `null`, "arn:aws:events:eu-west-1:111122223333:rule/b/r", "r"},
		{"rule on a bus named by ARN", "events:PutRule", `{"name":"r","eventBusName":"arn:aws:events:eu-west-1:111122223333:event-bus/b"}`, `null`, "arn:aws:events:eu-west-1:111122223333:rule/b/r", "r"},
		{"ARN in a request", "cloudtrail:CreateTrail", `{"name":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/t"}`, `null`, "arn:aws:cloudtrail:eu-west-1:111122223333:trail/t", "t"},
		{"ARN of something else in a request", "cloudtrail:CreateTrail", `{"name":"arn:aws:cloudtrail:eu-west-1:111122223333:channel/t"}`, `null`, "arn:aws:cloudtrail:eu-west-1:111122223333:trail/t", "t"},
		{"several tasks", "ecs:RunTask", `{}`, `{"tasks":[{"taskArn":"arn:aws:ecs:eu-west-1:111122223333:task/c/1"},{"taskArn":"arn:aws:ecs:eu-west-1:111122223333:task/c/2"}]}`, "arn:aws:ecs:eu-west-1:111122223333:task/c/1 arn:aws:ecs:eu-west-1:111122223333:task/c/2", "1 2"},
		{"the same one twice", "ecs:RunTask", `{}`, `{"tasks":[{"taskArn":"arn:aws:ecs:eu-west-1:111122223333:task/c/1"},{"taskArn":"arn:aws:ecs:eu-west-1:111122223333:task/c/1"}]}`, "arn:aws:ecs:eu-west-1:111122223333:task/c/1", "1"},
		{"an ARN under a name that no model has", "ecs:CreateCluster", `{}`, `{"thing":{"is":"arn:aws:ecs:eu-west-1:111122223333:cluster/c","role":"arn:aws:iam::111122223333:role/c"}}`, "arn:aws:ecs:eu-west-1:111122223333:cluster/c", "c"},
		{"a directory bucket", "s3express:CreateBucket", `{"bucketName":"b--euw1-az1--x-s3"}`, `null`, "arn:aws:s3express:eu-west-1:111122223333:bucket/b--euw1-az1--x-s3", "b--euw1-az1--x-s3"},
		{"a channel and its key", "ivs:CreateChannel", `{"name":"c"}`, `{"channel":{"arn":"arn:aws:ivs:eu-west-1:111122223333:channel/c1","name":"c"},"streamKey":{"arn":"arn:aws:ivs:eu-west-1:111122223333:stream-key/k1"}}`, "arn:aws:ivs:eu-west-1:111122223333:channel/c1 arn:aws:ivs:eu-west-1:111122223333:stream-key/k1", "c k1"},
		{"outputs of a flow", "mediaconnect:AddFlowOutputs", `{}`, `{"flowArn":"arn:aws:mediaconnect:eu-west-1:111122223333:flow:1:f","outputs":[{"outputArn":"arn:aws:mediaconnect:eu-west-1:111122223333:output:1:o"}]}`, "arn:aws:mediaconnect:eu-west-1:111122223333:output:1:o", ""},
		{"a batch of which one failed", "ssm:CreateAssociationBatch", `{}`, `{"successful":[{"associationId":"a1"},{"associationId":"a2"}],"failed":[{"entry":{"name":"n"}}]}`, "arn:aws:ssm:eu-west-1:111122223333:association/a1 arn:aws:ssm:eu-west-1:111122223333:association/a2", "a1 a2"},
		{"a snapshot's copy", "lightsail:CopySnapshot", `{"sourceSnapshotName":"s","targetSnapshotName":"t","sourceRegion":"us-east-1"}`, `{"operations":[{"id":"1","resourceName":"s"}]}`, "", "t"},
		{"rule of a security group", "ec2:AuthorizeSecurityGroupIngress", `{"groupId":"sg-1"}`, `{"securityGroupRuleSet":{"items":[{"securityGroupRuleId":"sgr-1"}]}}`, "arn:aws:ec2:eu-west-1:111122223333:security-group-rule/sgr-1", "sgr-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			result, ok := c.Resolve(record(t, tt.call, tt.request, tt.response))
			if !ok || result.Failed != "" || result.Problem != "" {
				t.Fatalf("%+v, %v", result, ok)
			}
			if got := strings.TrimSpace(strings.Join(arns(result), " ")); got != tt.want {
				t.Errorf("ARNs %s, want %s", got, tt.want)
			}
			if got := strings.Join(ids(result), " "); tt.wantIDs != "" && got != tt.wantIDs {
				t.Errorf("ids %s, want %s", got, tt.wantIDs)
			}
		})
	}
}

func TestResolveTellsServicesApartThatShareAName(t *testing.T) {
	c := load(t)
	for _, tt := range []struct{ call, request, response, want string }{
		{"elasticloadbalancing:CreateLoadBalancer", `{"loadBalancerName":"x"}`, `{}`, "elb"},
		{"elasticloadbalancing:CreateLoadBalancer", `{"name":"x"}`, `{}`, "elbv2"},
		{"apigateway:CreateStage", `{"apiId":"x"}`, `{}`, "apigatewayv2"},
		{"apigateway:CreateStage", `{"restApiId":"x"}`, `{}`, "apigateway"},
		{"apigateway:CreateVpcLink", `{}`, `{"vpcLinkId":"x"}`, "apigatewayv2"},
		{"apigateway:CreateVpcLink", `{}`, `{"id":"x"}`, "apigateway"},
		{"apigateway:CreateDomainName", `{}`, `{"domainName":"x","domainNameConfigurations":[{"domainNameStatus":"AVAILABLE"}]}`, "apigatewayv2"},
		{"apigateway:CreateDomainName", `{}`, `{"domainName":"x"}`, "apigateway"},
		{"kinesisanalytics:CreateApplication", `{}`, `{"applicationDetail":{"applicationName":"x"}}`, "kinesisanalyticsv2"},
		{"kinesisanalytics:CreateApplication", `{}`, `{"applicationSummary":{"applicationName":"x"}}`, "kinesisanalytics"},
		{"s3:CreateBucket", `{"bucketName":"x"}`, `null`, "s3"},
		{"s3:CreateBucket", `{"bucket":"x"}`, `{"bucketArn":"arn:aws:s3-outposts:eu-west-1:111122223333:outpost/op-1/bucket/x"}`, "s3control"},
		{"ses:CreateEmailIdentity", `{"emailIdentity":"x@example.com"}`, `{}`, "sesv2"},
	} {
		result, ok := c.Resolve(record(t, tt.call, tt.request, tt.response))
		if !ok || result.Service != tt.want {
			t.Errorf("%s %s %s: %q, want %s", tt.call, tt.request, tt.response, result.Service, tt.want)
		}
	}
	result, _ := c.Resolve(record(t, "ses:CreateEmailIdentity", `{"emailIdentity":"x@example.com"}`, `{}`))
	if !slices.Contains(result.Services, "pinpoint-email") {
		t.Errorf("services %q, want the older API's too", result.Services)
	}
}

func TestRunInstances(t *testing.T) {
	c := load(t)
	r := record(t, "ec2:RunInstances",
		`{"networkInterfaceSet":{"items":[{"networkInterfaceId":"eni-mine"},{"deviceIndex":1}]},
		  "tagSpecificationSet":{"items":[{"resourceType":"instance","tags":[{"key":"Name","value":"web"}]},{"resourceType":"volume","tags":[{"key":"Name","value":"disk"}]}]}}`,
		`{"instancesSet":{"items":[{"instanceId":"i-1","networkInterfaceSet":{"items":[{"networkInterfaceId":"eni-mine"},{"networkInterfaceId":"eni-new"}]}},{"instanceId":"i-2","networkInterfaceSet":{}}]}}`)
	result, ok := c.Resolve(r)
	if !ok || result.Failed != "" {
		t.Fatalf("%+v", result)
	}
	if got, want := ids(result), []string{"i-1", "i-2", "eni-new"}; !slices.Equal(got, want) {
		t.Errorf("made %q, want %q", got, want)
	}
	if result.Expand != resource.ExpandInstanceVolumes || !slices.Equal(result.ExpandIDs, []string{"i-1", "i-2"}) || !slices.Equal(result.ExpandSkip, []string{"eni-mine"}) {
		t.Errorf("expand %q %q, skip %q", result.Expand, result.ExpandIDs, result.ExpandSkip)
	}
	instance, eni := result.Resources[0], result.Resources[2]
	if instance.Type != "AWS::EC2::Instance" || instance.TagAPI != resource.EC2CreateTags || instance.IAMAction != "ec2:CreateTags" || instance.Service != "ec2" || instance.Confidence != resource.Verified {
		t.Errorf("%+v", instance)
	}
	if want := (event.Scope{AccountID: "111122223333", Region: "eu-west-1"}); instance.Scope != want {
		t.Errorf("lives in %v, want %v", instance.Scope, want)
	}
	if !maps.Equal(instance.Tags, map[string]string{"Name": "web"}) || len(eni.Tags) != 0 {
		t.Errorf("tags of the instance %v, of the interface %v", instance.Tags, eni.Tags)
	}
	if result.Upsert {
		t.Error("an upsert")
	}
}

func TestRunInstancesWithoutItsResponseIsUnresolved(t *testing.T) {
	result, ok := load(t).Resolve(record(t, "ec2:RunInstances", `{}`, `null`))
	if !ok || result.Problem != resource.Unresolved || result.Detail == "" || result.Expand != "" || len(result.Resources) != 0 {
		t.Errorf("%+v", result)
	}
}

func TestCreateFleet(t *testing.T) {
	c := load(t)
	result, _ := c.Resolve(record(t, "ec2:CreateFleet", `{}`, `{"CreateFleetResponse":{"fleetId":"fleet-1","fleetInstanceSet":{"item":[{"instanceIds":{"item":["i-1","i-2"]}},{"instanceIds":{"item":"i-3"}}]}}}`))
	if got, want := ids(result), []string{"fleet-1", "i-1", "i-2", "i-3"}; !slices.Equal(got, want) {
		t.Errorf("an instant fleet made %q, want %q", got, want)
	}
	if result.Expand != resource.ExpandInstanceVolumes || len(result.ExpandIDs) != 3 {
		t.Errorf("%+v", result)
	}
	result, _ = c.Resolve(record(t, "ec2:CreateFleet", `{}`, `{"CreateFleetResponse":{"fleetId":"fleet-1"}}`))
	if got := ids(result); !slices.Equal(got, []string{"fleet-1"}) || result.Expand != "" || result.Problem != "" {
		t.Errorf("a fleet that launches later: %+v", result)
	}
}

func TestImagesExpandIntoSnapshots(t *testing.T) {
	for _, call := range []string{"ec2:CreateImage", "ec2:CopyImage"} {
		result, _ := load(t).Resolve(record(t, call, `{}`, `{"imageId":"ami-1"}`))
		if result.Expand != resource.ExpandImageSnapshots || !slices.Equal(result.ExpandIDs, []string{"ami-1"}) {
			t.Errorf("%s: %+v", call, result)
		}
	}
}

func TestUpserts(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		call, request, response string
		want                    bool
	}{
		{"events:PutRule", `{"name":"r"}`, `{}`, true},
		{"events:PutRule", `{"name":"r","eventBusName":"b"}`, `{}`, true},
		{"monitoring:PutMetricAlarm", `{"alarmName":"a"}`, `null`, true},
		{"sqs:CreateQueue", `{"queueName":"q"}`, `{}`, true},
		{"sns:CreateTopic", `{"name":"t"}`, `{}`, true},
		{"ecs:CreateCluster", `{"clusterName":"c"}`, `{}`, true},
		{"ssm:PutParameter", `{"name":"p"}`, `{"version":1}`, false},
		{"ssm:PutParameter", `{"name":"p"}`, `{"version":2}`, true},
		{"ssm:PutParameter", `{"name":"p"}`, `{"version":11}`, true},
		{"ssm:PutParameter", `{"name":"p"}`, `null`, true},
		{"acm:ImportCertificate", `{}`, `{"certificateArn":"arn:aws:acm:eu-west-1:111122223333:certificate/1"}`, false},
		{"acm:ImportCertificate", `{"certificateArn":"arn:aws:acm:eu-west-1:111122223333:certificate/1"}`, `{"certificateArn":"arn:aws:acm:eu-west-1:111122223333:certificate/1"}`, true},
		{"ec2:CreateVolume", `{}`, `{"volumeId":"vol-1"}`, false},
	} {
		result, ok := c.Resolve(record(t, tt.call, tt.request, tt.response))
		if !ok || result.Upsert != tt.want {
			t.Errorf("%s %s %s: upsert %v, want %v", tt.call, tt.request, tt.response, result.Upsert, tt.want)
		}
	}
}

func TestWhatIsNoCreateEvent(t *testing.T) {
	c := load(t)
	for name, members := range map[string]string{
		"failed":                        `"errorCode":"Client.DryRunOperation","responseElements":{"vpc":{"vpcId":"vpc-1"}}`,
		"failed without a code":         `"errorMessage":"no","responseElements":{"vpc":{"vpcId":"vpc-1"}}`,
		"an error in the response":      `"responseElements":{"error":{"code":"VpcLimitExceeded"}}`,
		"an error code in the response": `"responseElements":{"errorCode":"VpcLimitExceeded"}`,
		"only reads":                    `"readOnly":true,"responseElements":{"vpc":{"vpcId":"vpc-1"}}`,
	} {
		result, ok := c.Resolve(parse(t, `{"eventSource":"ec2.amazonaws.com","eventName":"CreateVpc",`+members+`}`))
		if !ok || result.Failed == "" || len(result.Resources) != 0 || result.Problem != "" {
			t.Errorf("%s: %+v, %v", name, result, ok)
		}
	}
	for call, response := range map[string]string{
		"kms:CreateKey":                     `{"keyMetadata":{"arn":"arn:aws:kms:eu-west-1:111122223333:key/1","keyManager":"AWS"}}`,
		"ec2:AuthorizeSecurityGroupIngress": `{"_return":true}`,
	} {
		result, ok := c.Resolve(record(t, call, `{}`, response))
		if !ok || result.Failed == "" || len(result.Resources) != 0 {
			t.Errorf("%s: %+v, want something that takes no tags", call, result)
		}
	}
	if _, ok := c.Resolve(record(t, "ec2:DescribeInstances", `{}`, `{}`)); ok {
		t.Error("DescribeInstances resolved")
	}
	result, ok := c.Resolve(record(t, "cloud9:CreateEnvironmentEC2", `{"dryRun":true,"name":"n"}`, `null`))
	if !ok || result.Failed != "" || result.Problem != "" || len(result.Resources) != 0 || result.Detail == "" {
		t.Errorf("dry run: %+v", result)
	}
}

// S3 tells of a job on its own account, beside the event of the call that made it: who made it is known from that one alone.
func TestAnEventThatTellsOfAnother(t *testing.T) {
	c := load(t)
	told := parse(t, `{"eventID":"e-1","eventType":"AwsServiceEvent","eventSource":"s3.amazonaws.com","eventName":"JobCreated","awsRegion":"eu-west-1",
		"userIdentity":{"accountId":"111122223333","invokedBy":"s3.amazonaws.com"},"recipientAccountId":"111122223333",
		"serviceEventDetails":{"jobId":"j-1","jobArn":"arn:aws:s3:eu-west-1:111122223333:job/j-1","status":"New"}}`)
	result, _ := c.Resolve(told)
	if want := []string{"arn:aws:s3:eu-west-1:111122223333:job/j-1"}; result.Failed == "" || !slices.Equal(arns(result), want) {
		t.Errorf("it is a create event, or names another job than %q: %+v", want, result)
	}
	if slices.Contains(c.Names(nil), "JobCreated") {
		t.Error("CloudTrail is asked for it by name, to no use")
	}
	for _, pair := range c.Pairs() {
		if pair.EventName == "JobCreated" {
			t.Error("it is shown as a create event")
		}
	}
}

func TestScopeIsWhereTheResourceLives(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		name, call, request, response, want string
	}{
		{"the record's", "s3:CreateBucket", `{"bucketName":"b"}`, `null`, "111122223333/eu-west-1"},
		{"a bucket's constraint", "s3:CreateBucket", `{"bucketName":"b","CreateBucketConfiguration":{"LocationConstraint":"ap-southeast-2"}}`, `null`, "111122223333/ap-southeast-2"},
		{"the oldest constraint", "s3:CreateBucket", `{"bucketName":"b","CreateBucketConfiguration":{"LocationConstraint":"EU"}}`, `null`, "111122223333/eu-west-1"},
		{"a hostile constraint", "s3:CreateBucket", `{"bucketName":"b","CreateBucketConfiguration":{"LocationConstraint":"evil.example.com/-a-1"}}`, `null`, "111122223333/eu-west-1"},
		{"the ARN's", "kms:ReplicateKey", `{}`, `{"replicaKeyMetadata":{"arn":"arn:aws:kms:us-west-2:111122223333:key/mrk-1"}}`, "111122223333/us-west-2"},
		{"a replica's without ARN", "kms:ReplicateKey", `{"keyId":"mrk-1","replicaRegion":"us-west-2"}`, `null`, "111122223333/us-west-2"},
		{"an ARN's account", "kms:CreateKey", `{}`, `{"keyMetadata":{"arn":"arn:aws:kms:us-west-2:444455556666:key/1"}}`, "444455556666/us-west-2"},
		{"an ARN without account", "ec2:CreateSnapshot", `{}`, `{"snapshotId":"snap-1"}`, "111122223333/eu-west-1"},
	} {
		result, _ := c.Resolve(record(t, tt.call, tt.request, tt.response))
		if len(result.Resources) != 1 || result.Resources[0].Scope.String() != tt.want {
			t.Errorf("%s: %+v, want %s", tt.name, result.Resources, tt.want)
		}
	}
}

func TestPartitionFollowsTheRegion(t *testing.T) {
	result, _ := load(t).Resolve(parse(t, `{"eventSource":"sqs.amazonaws.com","eventName":"CreateQueue","awsRegion":"cn-north-1","recipientAccountId":"111122223333","requestParameters":{"queueName":"q"}}`))
	if got := arns(result); !slices.Equal(got, []string{"arn:aws-cn:sqs:cn-north-1:111122223333:q"}) {
		t.Errorf("%q", got)
	}
}

func TestTagAPI(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		call, request, response string
		want                    resource.TagAPI
		problem                 resource.Reason
	}{
		{"ec2:CreateVolume", `{}`, `{"volumeId":"vol-1"}`, resource.EC2CreateTags, ""},
		{"s3:CreateBucket", `{"bucketName":"b"}`, `null`, resource.TagResources, ""},
		{"secretsmanager:CreateSecret", `{"name":"s"}`, `null`, "secretsmanager:TagResource", ""},
		{"autoscaling:CreateAutoScalingGroup", `{"autoScalingGroupName":"g"}`, `null`, "autoscaling:CreateOrUpdateTags", ""},
		{"apigateway:CreateRestApi", `{}`, `{"id":"a"}`, "apigateway:TagResource", ""},
		{"cloudformation:CreateStack", `{}`, `{"stackId":"arn:aws:cloudformation:eu-west-1:111122223333:stack/s/1"}`, resource.NoTagAPI, resource.Unsupported},
	} {
		result, _ := c.Resolve(record(t, tt.call, tt.request, tt.response))
		if len(result.Resources) != 1 || result.Resources[0].TagAPI != tt.want || catalog.Problem(result.Resources[0]) != tt.problem {
			t.Errorf("%s: %+v, want %s %s", tt.call, result, tt.want, tt.problem)
		}
	}
	if got := catalog.Problem(resource.Resource{TagAPI: resource.TagResources, ID: "x"}); got != resource.Unresolved {
		t.Errorf("TagResources without an ARN: %q", got)
	}
}

func TestTagsGivenAtCreation(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		name, call, request, response string
		want                          map[string]string
	}{
		{"plain EC2", "ec2:CreateVolume", `{"tagSpecificationSet":{"items":[{"resourceType":"volume","tags":[{"key":"a","value":"1"}]}]}}`, `{"volumeId":"vol-1"}`, map[string]string{"a": "1"}},
		{"wrapped EC2, values that became something else", "ec2:CreateNatGateway", `{"CreateNatGatewayRequest":{"TagSpecification":{"ResourceType":"natgateway","tag":1,"Tag":[{"Key":"a","Value":true,"tag":1},{"Key":"b","Value":7,"tag":2}]}}}`, `{"CreateNatGatewayResponse":{"natGateway":{"natGatewayId":"nat-1"}}}`, map[string]string{"a": "true", "b": "7"}},
		{"of another kind", "ec2:CreateVolume", `{"tagSpecificationSet":{"items":[{"resourceType":"snapshot","tags":[{"key":"a","value":"1"}]}]}}`, `{"volumeId":"vol-1"}`, nil},
		{"a map", "sqs:CreateQueue", `{"queueName":"q","tags":{"a":"1"}}`, `{}`, map[string]string{"a": "1"}},
		{"a list", "sns:CreateTopic", `{"name":"t","tags":[{"key":"a","value":"1"}]}`, `{}`, map[string]string{"a": "1"}},
		{"none", "sns:CreateTopic", `{"name":"t"}`, `{}`, nil},
		{"not a request at all", "ec2:CreateVolume", `[1]`, `{"volumeId":"vol-1"}`, nil},
	} {
		result, _ := c.Resolve(record(t, tt.call, tt.request, tt.response))
		if len(result.Resources) != 1 || !maps.Equal(result.Resources[0].Tags, tt.want) {
			t.Errorf("%s: %+v, want %v", tt.name, result.Resources, tt.want)
		}
	}
}

// The ARNs of parents must not be taken for the resource: what was named in a request may be anybody's.
func TestSearchRefusesWhatIsNotSure(t *testing.T) {
	c := load(t)
	for name, response := range map[string]string{
		"two of the form":          `{"a":"arn:aws:ecs:eu-west-1:111122223333:cluster/c","b":"arn:aws:ecs:eu-west-1:111122223333:cluster/d"}`,
		"one of another kind":      `{"a":"arn:aws:ecs:eu-west-1:111122223333:service/c/s"}`,
		"one of another service":   `{"a":"arn:aws:eks:eu-west-1:111122223333:cluster/c"}`,
		"one of another depth":     `{"a":"arn:aws:ecs:eu-west-1:111122223333:cluster/c/d"}`,
		"one of a longer kind":     `{"a":"arn:aws:ecs:eu-west-1:111122223333:clusters/c"}`,
		"nothing that is a string": `{"a":["x",1,null,{"b":true}],"c":"\"arn:"}`,
	} {
		result, _ := c.Resolve(record(t, "ecs:CreateCluster", `{}`, response))
		if result.Problem != resource.Unresolved {
			t.Errorf("%s: %+v", name, result)
		}
	}
}

// A record may be 256 KB of ids. Work in proportion to their square would stop a Scope.
func TestResolveIsLinearInTheRecord(t *testing.T) {
	c := load(t)
	var given, made, tags strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&given, `{"networkInterfaceId":"eni-%d"},`, i)
		fmt.Fprintf(&made, `{"instanceId":"i-%d","networkInterfaceSet":{"items":[{"networkInterfaceId":"eni-%d"}]}},`, i, 2*i)
		fmt.Fprintf(&tags, `{"key":"k%d","value":"v"},`, i)
	}
	trim := func(b *strings.Builder) string { return strings.TrimSuffix(b.String(), ",") }
	r := record(t, "ec2:RunInstances",
		`{"networkInterfaceSet":{"items":[`+trim(&given)+`]},"tagSpecificationSet":{"items":[{"resourceType":"instance","tags":[`+trim(&tags)+`]}]}}`,
		`{"instancesSet":{"items":[`+trim(&made)+`]}}`)
	began := time.Now()
	result, _ := c.Resolve(r)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if len(result.Resources) != 6000 {
		t.Errorf("%d resources, want 4,000 instances and 2,000 new interfaces", len(result.Resources))
	}
}

func FuzzResolve(f *testing.F) {
	c := load(f)
	pairs := c.Pairs()
	for i, r := range []string{
		`{"instancesSet":{"items":[{"instanceId":"i-1"}]}}`,
		`{"arn":"arn:aws:x:y:z:w","id":["a","b"],"name":{"name":["c"]}}`,
		`{"CreateFleetResponse":{"fleetId":[[["x"]]]}}`,
		`[{"volumeId":"vol-1"}]`, `"x"`, `null`, `7`,
	} {
		f.Add(i*97, `{"name":"n","dryRun":"false","tagSpecificationSet":{"items":7}}`, r)
	}
	f.Fuzz(func(t *testing.T, n int, request, response string) {
		p := pairs[max(n, -n, 0)%len(pairs)]
		r, err := event.Parse(fmt.Appendf(nil, `{"eventSource":%q,"eventName":%q,"awsRegion":"eu-west-1","recipientAccountId":"111122223333","requestParameters":%s,"responseElements":%s}`, p.EventSource, p.EventName, request, response))
		if err != nil || r.EventName != p.EventName || r.EventSource != p.EventSource {
			return
		}
		result, ok := c.Resolve(r)
		if !ok {
			t.Fatalf("%s %s is in the catalog", p.EventSource, p.EventName)
		}
		if result.Failed != "" && len(result.Resources)+len(result.ExpandIDs) > 0 {
			t.Errorf("failed, and made something: %+v", result)
		}
		if len(result.Resources) > 0 && result.Problem != "" {
			t.Errorf("resources and a problem: %+v", result)
		}
		seen := map[[2]string]bool{}
		for _, res := range result.Resources {
			if res.ARN == "" && res.ID == "" {
				t.Errorf("no name: %+v", res)
			}
			if seen[[2]string{res.ARN, res.ID}] {
				t.Errorf("twice: %+v", res)
			}
			seen[[2]string{res.ARN, res.ID}] = true
			if res.ARN != "" {
				if _, err := event.ParseARN(res.ARN); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// What a call that succeeded did not make is no resource that the record fails to name.
func TestACallThatMadeNone(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		call, response string
		none           bool
	}{
		{"ecs:RunTask", `{"tasks":[],"failures":[{"reason":"RESOURCE:MEMORY"}]}`, true},
		{"ecs:RunTask", `{"failures":[]}`, false},
		{"workspaces:CreateWorkspaces", `{"pendingRequests":[],"failedRequests":[{}]}`, true},
		{"ec2:CreateFlowLogs", `{"CreateFlowLogsResponse":{"flowLogIdSet":"","unsuccessful":{"item":{}}}}`, true},
		{"ec2:RunInstances", `null`, false},
	} {
		got, ok := c.Resolve(record(t, tt.call, `{}`, tt.response))
		if !ok || (got.Failed != "") != tt.none || (got.Problem == resource.Unresolved) == tt.none {
			t.Errorf("%s %s: failed %q, problem %q", tt.call, tt.response, got.Failed, got.Problem)
		}
	}
}

// Tags that are more than AWS lets anything have are not kept, so that no Job outgrows what a checkpoint can hold.
func TestTagsAreBounded(t *testing.T) {
	c := load(t)
	for _, call := range []struct{ name, request, response string }{
		{"ec2:CreateVolume", `{"tagSpecificationSet":{"items":[{"resourceType":"volume","tags":[{"key":"k","value":%q}]}]}}`, `{"volumeId":"vol-1"}`},
		{"sqs:CreateQueue", `{"queueName":"q","tags":{"k":%q}}`, `{"queueUrl":"https://sqs.eu-west-1.amazonaws.com/111122223333/q"}`},
	} {
		for _, n := range []int{256, 20_000, 40_000} {
			got, _ := c.Resolve(record(t, call.name, fmt.Sprintf(call.request, strings.Repeat("<", n)), call.response))
			if len(got.Resources) != 1 || (len(got.Resources[0].Tags) == 1) != (n < 30_000) {
				t.Errorf("%s, %d bytes: %d resources, %d tags", call.name, n, len(got.Resources), len(got.Resources[0].Tags))
			}
		}
	}
}

// A change set makes a stack only where it says so.
func TestChangeSets(t *testing.T) {
	c := load(t)
	const response = `{"id":"arn:aws:cloudformation:eu-west-1:111122223333:changeSet/cs/1","stackId":"arn:aws:cloudformation:eu-west-1:111122223333:stack/s/1"}`
	for kind, want := range map[string]string{"CREATE": "arn:aws:cloudformation:eu-west-1:111122223333:stack/s/1", "UPDATE": "", "IMPORT": ""} {
		got, _ := c.Resolve(record(t, "cloudformation:CreateChangeSet", fmt.Sprintf(`{"stackName":"s","changeSetType":%q}`, kind), response))
		if strings.Join(arns(got), " ") != want || want == "" && got.Problem != "" {
			t.Errorf("%s: %+v, want %q", kind, got, want)
		}
	}
}

// The record of what went through a VPC endpoint stands beside the call's own.
func TestNetworkActivityMakesNothing(t *testing.T) {
	r := parse(t, `{"eventID":"e","eventSource":"kms.amazonaws.com","eventName":"CreateKey","eventType":"AwsVpceEvent","eventCategory":"NetworkActivity","awsRegion":"eu-west-1","recipientAccountId":"111122223333"}`)
	if got, _ := load(t).Resolve(r); got.Failed == "" || got.Problem != "" || len(got.Resources) > 0 {
		t.Errorf("%+v, want that it made nothing", got)
	}
}

// An ARN is not built of what the record lacks, and nobody can tag in a place that is unknown.
func TestNoARNWithoutAPlace(t *testing.T) {
	c := load(t)
	for _, place := range []string{
		`"awsRegion":null,"recipientAccountId":"111122223333"`, `"awsRegion":"eu-west-1"`,
	} {
		got, _ := c.Resolve(parse(t, `{"eventID":"e","eventSource":"ec2.amazonaws.com","eventName":"CreateVolume",`+place+`,"responseElements":{"volumeId":"vol-1"}}`))
		if len(got.Resources) != 1 || got.Resources[0].ARN != "" || got.Resources[0].ID != "vol-1" {
			t.Errorf("with %s: %+v, want the id alone", place, got.Resources)
			continue
		}
		if p := catalog.Problem(got.Resources[0]); p != resource.Unresolved {
			t.Errorf("with %s: problem %q, want unresolved", place, p)
		}
	}
}
