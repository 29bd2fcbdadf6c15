"""Resources of the services from S to Z."""

import json

from services.given import OWNED, ROLE, TEAM, pairs, small, network, directory, service


@service
def s3(m, n):
    def bucket(name, tags, location, region="eu-west-1"):
        configuration = {"LocationConstraint": location}
        m.make(
            "s3",
            "CreateBucket",
            {"Bucket": name, "CreateBucketConfiguration": configuration},
            "GetBucketTagging",
            {"Bucket": name},
            "TagSet",
            region=region,
            home=location,
            request={"bucketName": name, "Host": "s3.amazonaws.com", "CreateBucketConfiguration": configuration},
            response=lambda _: None,
            then=tags and (lambda _: m.call("s3", "PutBucketTagging", location, Bucket=name, Tagging={"TagSet": pairs(tags)})),
        )

    bucket(f"{n}-plain", None, "eu-west-1")
    bucket(f"{n}-tagged", TEAM, "eu-west-1")
    bucket(f"{n}-owned", OWNED, "eu-central-1", "us-east-1")


@service
def s3control(m, n):
    m.call("s3", "CreateBucket", Bucket=f"{n}-behind", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    m.make(
        "s3control",
        "CreateAccessPoint",
        {"AccountId": "123456789012", "Name": f"{n}-point", "Bucket": f"{n}-behind", "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"AccountId": "123456789012", "ResourceArn": "$AccessPointArn"},
        "Tags",
    )
    m.make(
        "s3control",
        "PutStorageLensConfiguration",
        {
            "AccountId": "123456789012",
            "ConfigId": n,
            "Tags": pairs(TEAM),
            "StorageLensConfiguration": {"Id": n, "AccountLevel": {"BucketLevel": {}}, "IsEnabled": True},
        },
        "GetStorageLensConfigurationTagging",
        {"AccountId": "123456789012", "ConfigId": n},
        "Tags",
    )


@service
def s3vectors(m, n):
    m.make(
        "s3vectors",
        "CreateVectorBucket",
        {"vectorBucketName": f"{n}-vectors", "tags": OWNED},
        "ListTagsForResource",
        {"resourceArn": f"arn:aws:s3vectors:eu-west-1:123456789012:bucket/{n}-vectors"},
        "tags",
    )
    m.make(
        "s3vectors",
        "CreateIndex",
        {
            "vectorBucketName": f"{n}-vectors",
            "indexName": "i-1",
            "dataType": "float32",
            "dimension": 2,
            "distanceMetric": "cosine",
            "tags": TEAM,
        },
        "ListTagsForResource",
        {"resourceArn": f"arn:aws:s3vectors:eu-west-1:123456789012:bucket/{n}-vectors/index/i-1"},
        "tags",
    )


@service
def sagemaker(m, n):
    def make(operation, arn, **params):
        m.make("sagemaker", operation, params | {"Tags": pairs(TEAM)}, "ListTags", {"ResourceArn": f"${arn}"}, "Tags")

    make("CreateModel", "ModelArn", ModelName=n, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "i"})
    make(
        "CreateEndpointConfig",
        "EndpointConfigArn",
        EndpointConfigName=n,
        ProductionVariants=[{"VariantName": "v", "ModelName": n, "InitialInstanceCount": 1, "InstanceType": "ml.t2.medium"}],
    )
    make("CreateEndpoint", "EndpointArn", EndpointName=n, EndpointConfigName=n)
    make("CreateNotebookInstance", "NotebookInstanceArn", NotebookInstanceName=n, InstanceType="ml.t3.medium", RoleArn=ROLE)
    make("CreateExperiment", "ExperimentArn", ExperimentName=n)
    make("CreatePipeline", "PipelineArn", PipelineName=n, ClientRequestToken="t" * 32, RoleArn=ROLE, PipelineDefinition="{}")


@service
def scheduler(m, n):
    m.make(
        "scheduler",
        "CreateScheduleGroup",
        {"Name": n, "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceArn": "$ScheduleGroupArn"},
        "Tags",
    )


@service
def secretsmanager(m, n):
    m.make(
        "secretsmanager",
        "CreateSecret",
        {"Name": f"team/{n}", "SecretString": "s", "Tags": pairs(OWNED)},
        "DescribeSecret",
        {"SecretId": "$ARN"},
        "Tags",
    )


@service
def servicediscovery(m, n):
    m.make(
        "servicediscovery",
        "CreateService",
        {"Name": n, "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceARN": "$Service.Arn"},
        "Tags",
    )


@service
def sesv2(m, n):
    m.make(
        "sesv2",
        "CreateConfigurationSet",
        {"ConfigurationSetName": n, "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceArn": f"arn:aws:ses:eu-west-1:123456789012:configuration-set/{n}"},
        "Tags",
    )
    m.make(
        "sesv2",
        "CreateEmailIdentity",
        {"EmailIdentity": f"{n}.example", "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceArn": f"arn:aws:ses:eu-west-1:123456789012:identity/{n}.example"},
        "Tags",
    )
    m.make(
        "sesv2",
        "CreateDedicatedIpPool",
        {"PoolName": n, "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceArn": f"arn:aws:ses:eu-west-1:123456789012:dedicated-ip-pool/{n}"},
        "Tags",
    )


@service
def shield(m, n):
    m.make(
        "shield",
        "CreateProtection",
        {"Name": n, "ResourceArn": f"arn:aws:cloudfront::123456789012:distribution/{n}", "Tags": pairs(TEAM)},
        "ListTagsForResource",
        lambda a: {"ResourceARN": f"arn:aws:shield::123456789012:protection/{a['ProtectionId']}"},
        "Tags",
        region="us-east-1",
    )


@service
def signer(m, n):
    m.make(
        "signer",
        "PutSigningProfile",
        {"profileName": n.replace("-", "_"), "platformId": "AWSLambda-SHA384-ECDSA", "tags": TEAM},
        "ListTagsForResource",
        {"resourceArn": "$arn"},
        "tags",
    )


@service
def sns(m, n):
    m.make("sns", "CreateTopic", {"Name": n}, "ListTagsForResource", {"ResourceArn": "$TopicArn"}, "Tags")


@service
def sqs(m, n):
    m.make("sqs", "CreateQueue", {"QueueName": n, "tags": OWNED}, "ListQueueTags", {"QueueUrl": "$QueueUrl"}, "Tags")


@service
def ssm(m, n):
    def make(operation, kind, id, path="TagList", **params):
        m.make("ssm", operation, params | {"Tags": pairs(TEAM)}, "ListTagsForResource", {"ResourceType": kind, "ResourceId": id}, path)

    make("PutParameter", "Parameter", f"/team/{n}", Name=f"/team/{n}", Value="v", Type="String")
    make("PutParameter", "Parameter", f"plain-{n}", Name=f"plain-{n}", Value="v", Type="String")
    document = json.dumps({"schemaVersion": "2.2", "description": "d", "parameters": {}, "mainSteps": []})
    make("CreateDocument", "Document", f"doc-{n}", Name=f"doc-{n}", Content=document, DocumentType="Command")
    make(
        "CreateMaintenanceWindow",
        "MaintenanceWindow",
        "$WindowId",
        Name=f"win-{n}",
        Schedule="rate(7 days)",
        Duration=2,
        Cutoff=1,
        AllowUnassociatedTargets=True,
    )


@service
def stepfunctions(m, n):
    machine = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
    m.make(
        "stepfunctions",
        "CreateStateMachine",
        {"name": n, "definition": machine, "roleArn": ROLE, "tags": small(OWNED)},
        "ListTagsForResource",
        {"resourceArn": "$stateMachineArn"},
        "tags",
    )
    m.make(
        "stepfunctions", "CreateActivity", {"name": n, "tags": small(TEAM)}, "ListTagsForResource", {"resourceArn": "$activityArn"}, "tags"
    )


@service
def swf(m, n):
    m.make(
        "swf",
        "RegisterDomain",
        {"name": n, "workflowExecutionRetentionPeriodInDays": "1", "tags": small(TEAM)},
        "ListTagsForResource",
        {"resourceArn": f"arn:aws:swf:eu-west-1:123456789012:/domain/{n}"},
        "tags",
    )


@service
def timestream_influxdb(m, n):
    subnets, vpc = network(m)
    m.make(
        "timestream-influxdb",
        "CreateDbInstance",
        {
            "name": n,
            "password": "hunter2000",
            "dbInstanceType": "db.influx.medium",
            "vpcSubnetIds": subnets[:1],
            "vpcSecurityGroupIds": ["sg-12345678"],
            "allocatedStorage": 20,
            "tags": TEAM,
        },
        "ListTagsForResource",
        {"resourceArn": "$arn"},
        "tags",
    )


@service
def timestream_write(m, n):
    m.make(
        "timestream-write",
        "CreateDatabase",
        {"DatabaseName": n, "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceARN": "$Database.Arn"},
        "Tags",
    )
    m.make(
        "timestream-write",
        "CreateTable",
        {"DatabaseName": n, "TableName": "table", "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceARN": "$Table.Arn"},
        "Tags",
    )


@service
def transfer(m, n):
    m.make(
        "transfer",
        "CreateServer",
        {"Tags": pairs(TEAM)},
        "ListTagsForResource",
        lambda a: {"Arn": f"arn:aws:transfer:eu-west-1:123456789012:server/{a['ServerId']}"},
        "Tags",
    )


@service
def vpc_lattice(m, n):
    m.make("vpc-lattice", "CreateService", {"name": n, "tags": OWNED}, "ListTagsForResource", {"resourceArn": "$arn"}, "tags")
    m.make("vpc-lattice", "CreateServiceNetwork", {"name": n, "tags": TEAM}, "ListTagsForResource", {"resourceArn": "$arn"}, "tags")


@service
def wafv2(m, n):
    shown = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "m"}
    m.make(
        "wafv2",
        "CreateWebACL",
        {"Name": n, "Scope": "REGIONAL", "DefaultAction": {"Allow": {}}, "VisibilityConfig": shown, "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceARN": "$Summary.ARN"},
        "TagInfoForResource.TagList",
    )
    m.make(
        "wafv2",
        "CreateIPSet",
        {"Name": n, "Scope": "REGIONAL", "IPAddressVersion": "IPV4", "Addresses": [], "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceARN": "$Summary.ARN"},
        "TagInfoForResource.TagList",
    )


@service
def workspaces(m, n):
    at = m.call("ds", "CreateDirectory", **directory(f"{n}.work.example", *network(m)))["DirectoryId"]
    m.make(
        "workspaces", "RegisterWorkspaceDirectory", {"DirectoryId": at, "Tags": pairs(TEAM)}, "DescribeTags", {"ResourceId": at}, "TagList"
    )
    m.make(
        "workspaces",
        "CreateWorkspaces",
        {"Workspaces": [{"DirectoryId": at, "UserName": "u", "BundleId": "wsb-12345678"}]},
        "DescribeTags",
        {"ResourceId": "$PendingRequests[0].WorkspaceId"},
        "TagList",
        then=lambda a: m.call("workspaces", "CreateTags", ResourceId=a["PendingRequests"][0]["WorkspaceId"], Tags=pairs(TEAM)),
    )


@service
def workspaces_web(m, n):
    m.make(
        "workspaces-web",
        "CreatePortal",
        {"displayName": n, "tags": pairs(OWNED)},
        "ListTagsForResource",
        {"resourceArn": "$portalArn"},
        "tags",
    )
    m.make(
        "workspaces-web",
        "CreateBrowserSettings",
        {"browserPolicy": "{}", "tags": pairs(TEAM)},
        "ListTagsForResource",
        {"resourceArn": "$browserSettingsArn"},
        "tags",
    )
