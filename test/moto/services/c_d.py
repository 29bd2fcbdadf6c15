"""Resources of the services from C to D."""

from services.given import OWNED, ROLE, TEAM, TRUST, pairs, small, network, directory, service


@service
def ce(m, n):
    m.make(
        "ce",
        "CreateCostCategoryDefinition",
        {
            "Name": n,
            "RuleVersion": "CostCategoryExpression.v1",
            "ResourceTags": pairs(TEAM),
            "Rules": [{"Value": "v", "Rule": {"Dimensions": {"Key": "SERVICE_CODE", "Values": ["x"]}}}],
        },
        "ListTagsForResource",
        {"ResourceArn": "$CostCategoryArn"},
        "ResourceTags",
        region="us-east-1",
    )


@service
def cleanrooms(m, n):
    m.make(
        "cleanrooms",
        "CreateCollaboration",
        {
            "name": n,
            "description": "d",
            "creatorDisplayName": "c",
            "queryLogStatus": "DISABLED",
            "members": [],
            "creatorMemberAbilities": ["CAN_QUERY", "CAN_RECEIVE_RESULTS"],
            "tags": TEAM,
        },
        "ListTagsForResource",
        {"resourceArn": "$collaboration.arn"},
        "tags",
    )
    m.make(
        "cleanrooms",
        "CreateConfiguredTable",
        {
            "name": n,
            "tableReference": {"glue": {"tableName": "t", "databaseName": "d"}},
            "allowedColumns": ["c"],
            "analysisMethod": "DIRECT_QUERY",
            "tags": TEAM,
        },
        "ListTagsForResource",
        {"resourceArn": "$configuredTable.arn"},
        "tags",
    )


@service
def cloudfront(m, n):
    by, us = "ListTagsForResource", {"region": "us-east-1"}
    distribution = {
        "CallerReference": n,
        "Comment": "c",
        "Enabled": True,
        "Origins": {
            "Quantity": 1,
            "Items": [{"Id": "o", "DomainName": "b.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}],
        },
        "DefaultCacheBehavior": {
            "TargetOriginId": "o",
            "ViewerProtocolPolicy": "allow-all",
            "MinTTL": 0,
            "ForwardedValues": {"QueryString": False, "Cookies": {"Forward": "none"}},
        },
    }
    m.make(
        "cloudfront",
        "CreateDistribution",
        {"DistributionConfig": distribution},
        by,
        {"Resource": "$Distribution.ARN"},
        "Tags.Items",
        event="CreateDistribution2020_05_31",
        **us,
    )
    with_tags = {"DistributionConfig": distribution | {"CallerReference": f"{n}-tags"}, "Tags": {"Items": pairs(OWNED)}}
    m.make(
        "cloudfront",
        "CreateDistributionWithTags",
        {"DistributionConfigWithTags": with_tags},
        by,
        {"Resource": "$Distribution.ARN"},
        "Tags.Items",
        event="CreateDistributionWithTags2020_05_31",
        **us,
    )
    m.make(
        "cloudfront",
        "CreateFunction",
        {"Name": n, "FunctionConfig": {"Comment": "c", "Runtime": "cloudfront-js-2.0"}, "FunctionCode": b"f"},
        by,
        {"Resource": "$FunctionSummary.FunctionMetadata.FunctionARN"},
        "Tags.Items",
        event="CreateFunction2020_05_31",
        **us,
    )
    m.make(
        "cloudfront",
        "CreateKeyValueStore",
        {"Name": n},
        by,
        {"Resource": "$KeyValueStore.ARN"},
        "Tags.Items",
        event="CreateKeyValueStore2020_05_31",
        **us,
    )


@service
def cloudhsmv2(m, n):
    m.make(
        "cloudhsmv2",
        "CreateCluster",
        {"HsmType": "hsm1.medium", "SubnetIds": network(m)[0][:1], "TagList": pairs(TEAM)},
        "ListTags",
        {"ResourceId": "$Cluster.ClusterId"},
        "TagList",
    )


@service
def cloudtrail(m, n):
    m.call("s3", "CreateBucket", Bucket=f"{n}-trail", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    m.make(
        "cloudtrail",
        "CreateTrail",
        {"Name": f"trail-{n}", "S3BucketName": f"{n}-trail", "TagsList": pairs(OWNED)},
        "ListTags",
        {"ResourceIdList": ["$TrailARN"]},
        "ResourceTagList[0].TagsList",
    )


@service
def cloudwatch(m, n):
    alarm = {
        "MetricName": "m",
        "Namespace": "n",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    m.make(
        "cloudwatch",
        "PutMetricAlarm",
        alarm | {"AlarmName": f"{n} high", "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceARN": f"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{n} high"},
        "Tags",
    )


@service
def codebuild(m, n):
    m.make(
        "codebuild",
        "CreateProject",
        {
            "name": n,
            "source": {"type": "S3", "location": "b/p"},
            "artifacts": {"type": "NO_ARTIFACTS"},
            "serviceRole": ROLE,
            "tags": small(TEAM),
            "environment": {"type": "LINUX_CONTAINER", "image": "i", "computeType": "BUILD_GENERAL1_SMALL"},
        },
        "BatchGetProjects",
        {"names": [n]},
        "projects[0].tags",
    )


@service
def codecommit(m, n):
    m.make(
        "codecommit",
        "CreateRepository",
        {"repositoryName": n, "tags": TEAM},
        "ListTagsForResource",
        {"resourceArn": "$repositoryMetadata.Arn"},
        "tags",
    )


@service
def codedeploy(m, n):
    m.make(
        "codedeploy",
        "CreateApplication",
        {"applicationName": n, "tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceArn": f"arn:aws:codedeploy:eu-west-1:123456789012:application:{n}"},
        "Tags",
    )
    m.make(
        "codedeploy",
        "CreateDeploymentGroup",
        {"applicationName": n, "deploymentGroupName": "g", "serviceRoleArn": ROLE, "tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceArn": f"arn:aws:codedeploy:eu-west-1:123456789012:deploymentgroup:{n}/g"},
        "Tags",
    )


@service
def codepipeline(m, n):
    m.call("iam", "CreateRole", "us-east-1", RoleName=f"{n}-pipe", AssumeRolePolicyDocument=TRUST.replace("lambda", "codepipeline"))

    def stage(name, category, provider, **configuration):
        kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
        return {"name": name, "actions": [{"name": name, "actionTypeId": kind, "configuration": configuration, "runOrder": 1}]}

    m.make(
        "codepipeline",
        "CreatePipeline",
        {
            "pipeline": {
                "name": n,
                "roleArn": f"arn:aws:iam::123456789012:role/{n}-pipe",
                "version": 1,
                "artifactStore": {"type": "S3", "location": "bucket"},
                "stages": [stage("s", "Source", "S3", S3Bucket="b", S3ObjectKey="k"), stage("a", "Approval", "Manual")],
            },
            "tags": small(OWNED),
        },
        "ListTagsForResource",
        {"resourceArn": f"arn:aws:codepipeline:eu-west-1:123456789012:{n}"},
        "tags",
    )


@service
def cognito_identity(m, n):
    m.make(
        "cognito-identity",
        "CreateIdentityPool",
        {"IdentityPoolName": n, "AllowUnauthenticatedIdentities": False, "IdentityPoolTags": TEAM},
        "ListTagsForResource",
        lambda a: {"ResourceArn": f"arn:aws:cognito-identity:eu-west-1:123456789012:identitypool/{a['IdentityPoolId']}"},
        "Tags",
    )


@service
def cognito_idp(m, n):
    m.make(
        "cognito-idp",
        "CreateUserPool",
        {"PoolName": n, "UserPoolTags": TEAM},
        "ListTagsForResource",
        {"ResourceArn": "$UserPool.Arn"},
        "Tags",
    )


@service
def comprehend(m, n):
    m.make(
        "comprehend",
        "CreateEntityRecognizer",
        {
            "RecognizerName": n,
            "DataAccessRoleArn": ROLE,
            "LanguageCode": "en",
            "Tags": pairs(TEAM),
            "InputDataConfig": {"EntityTypes": [{"Type": "T"}], "Documents": {"S3Uri": "s3://b/d"}, "EntityList": {"S3Uri": "s3://b/e"}},
        },
        "ListTagsForResource",
        {"ResourceArn": "$EntityRecognizerArn"},
        "Tags",
    )


@service
def config(m, n):
    m.make(
        "config",
        "PutConfigurationAggregator",
        {
            "ConfigurationAggregatorName": n,
            "AccountAggregationSources": [{"AccountIds": ["123456789012"], "AllAwsRegions": True}],
            "Tags": pairs(OWNED),
        },
        "ListTagsForResource",
        {"ResourceArn": "$ConfigurationAggregator.ConfigurationAggregatorArn"},
        "Tags",
    )
    m.make(
        "config",
        "PutAggregationAuthorization",
        {"AuthorizedAccountId": "123456789012", "AuthorizedAwsRegion": "us-west-2", "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceArn": "$AggregationAuthorization.AggregationAuthorizationArn"},
        "Tags",
    )


@service
def connect(m, n):
    m.make(
        "connect",
        "CreateInstance",
        {
            "IdentityManagementType": "CONNECT_MANAGED",
            "InstanceAlias": n,
            "InboundCallsEnabled": True,
            "OutboundCallsEnabled": False,
            "Tags": OWNED,
        },
        "ListTagsForResource",
        {"resourceArn": "$Arn"},
        "tags",
        region="us-east-1",
    )


@service
def connectcampaigns(m, n):
    m.make(
        "connectcampaigns",
        "CreateCampaign",
        {
            "name": n,
            "connectInstanceId": "i" * 12,
            "dialerConfig": {"predictiveDialerConfig": {"bandwidthAllocation": 1.0}},
            "outboundCallConfig": {"connectContactFlowId": "f"},
            "tags": TEAM,
        },
        "ListTagsForResource",
        {"arn": "$arn"},
        "tags",
        region="us-east-1",
    )


@service
def datasync(m, n):
    m.make(
        "datasync",
        "CreateLocationS3",
        {"S3BucketArn": "arn:aws:s3:::b", "S3Config": {"BucketAccessRoleArn": ROLE}, "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceArn": "$LocationArn"},
        "Tags",
    )


@service
def dax(m, n):
    m.make(
        "dax",
        "CreateCluster",
        {"ClusterName": n, "NodeType": "dax.t3.small", "ReplicationFactor": 1, "IamRoleArn": ROLE, "Tags": pairs(TEAM)},
        "ListTags",
        {"ResourceName": "$Cluster.ClusterArn"},
        "Tags",
    )


@service
def devops_agent(m, n):
    m.make(
        "devops-agent",
        "CreateAgentSpace",
        {"name": n, "tags": TEAM},
        "ListTagsForResource",
        lambda a: {"resourceArn": f"arn:aws:aidevops:eu-west-1:123456789012:agentspace/{a['agentSpace']['agentSpaceId']}"},
        "tags",
    )


@service
def directconnect(m, n):
    m.make(
        "directconnect",
        "CreateLag",
        {"numberOfConnections": 1, "location": "eqDC2", "connectionsBandwidth": "1Gbps", "lagName": n, "tags": small(OWNED)},
        "DescribeTags",
        {"resourceArns": ["$lagId"]},
        "resourceTags[0].tags",  # an ARN at moto
    )


@service
def dms(m, n):
    m.make(
        "dms",
        "CreateReplicationInstance",
        {"ReplicationInstanceIdentifier": n, "ReplicationInstanceClass": "dms.t3.micro", "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceArn": "$ReplicationInstance.ReplicationInstanceArn"},
        "TagList",
    )


@service
def ds(m, n):
    subnets, vpc = network(m)
    m.make(
        "ds",
        "CreateDirectory",
        directory(f"{n}.example", subnets, vpc) | {"Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceId": "$DirectoryId"},
        "Tags",
    )


@service
def dsql(m, n):
    m.make("dsql", "CreateCluster", {"tags": OWNED}, "ListTagsForResource", {"resourceArn": "$arn"}, "tags", region="us-east-1")


@service
def dynamodb(m, n):
    m.make(
        "dynamodb",
        "CreateTable",
        {
            "TableName": n,
            "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
            "Tags": pairs(OWNED),
        },
        "ListTagsOfResource",
        {"ResourceArn": "$TableDescription.TableArn"},
        "Tags",
    )
