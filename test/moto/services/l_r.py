"""Resources of the services from L to R."""

import json

from services.given import OWNED, POLICY, ROLE, TEAM, TRUST, pairs, small, network, code, service


@service
def lambda_(m, n):
    m.call("iam", "CreateRole", "us-east-1", RoleName=f"{n}-f", AssumeRolePolicyDocument=TRUST)
    m.make(
        "lambda",
        "CreateFunction",
        {
            "FunctionName": n,
            "Runtime": "python3.12",
            "Role": f"arn:aws:iam::123456789012:role/{n}-f",
            "Handler": "f.f",
            "Code": {"ZipFile": code()},
            "Tags": OWNED,
        },
        "ListTags",
        {"Resource": "$FunctionArn"},
        "Tags",
        event="CreateFunction20150331",
    )
    queue = m.call("sqs", "CreateQueue", QueueName=f"{n}-source")["QueueUrl"]
    arn = m.call("sqs", "GetQueueAttributes", QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    m.make(
        "lambda",
        "CreateEventSourceMapping",
        {"FunctionName": n, "EventSourceArn": arn, "Tags": TEAM},
        "ListTags",
        {"Resource": "$EventSourceMappingArn"},
        "Tags",
        event="CreateEventSourceMapping20150331",
    )


@service
def lexv2_models(m, n):
    m.make(
        "lexv2-models",
        "CreateBot",
        {"botName": n, "roleArn": ROLE, "dataPrivacy": {"childDirected": False}, "idleSessionTTLInSeconds": 300, "botTags": OWNED},
        "ListTagsForResource",
        lambda a: {"resourceARN": f"arn:aws:lex:eu-west-1:123456789012:bot/{a['botId']}"},
        "tags",
    )


@service
def logs(m, n):
    group = f"arn:aws:logs:eu-west-1:123456789012:log-group:/h/{n}"
    m.make("logs", "CreateLogGroup", {"logGroupName": f"/h/{n}", "tags": OWNED}, "ListTagsForResource", {"resourceArn": group}, "tags")
    m.call("s3", "CreateBucket", Bucket=f"{n}-logs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    m.make(
        "logs",
        "PutDeliveryDestination",
        {"name": n, "deliveryDestinationConfiguration": {"destinationResourceArn": f"arn:aws:s3:::{n}-logs"}, "tags": TEAM},
        "ListTagsForResource",
        {"resourceArn": "$deliveryDestination.arn"},
        "tags",
    )


@service
def mediaconnect(m, n):
    m.make(
        "mediaconnect",
        "CreateFlow",
        {"Name": n, "Source": {"Name": "s", "Protocol": "rtp", "WhitelistCidr": "192.0.2.0/24", "IngestPort": 5000}, "FlowTags": TEAM},
        "ListTagsForResource",
        {"ResourceArn": "$Flow.FlowArn"},
        "Tags",
        then=lambda a: m.call("mediaconnect", "TagResource", ResourceArn=a["Flow"]["FlowArn"], Tags=TEAM),  # moto forgets FlowTags
    )


@service
def memorydb(m, n):
    by, subnets = "ListTags", network(m)[0]
    m.make(
        "memorydb",
        "CreateSubnetGroup",
        {"SubnetGroupName": n, "SubnetIds": subnets, "Tags": pairs(TEAM)},
        by,
        {"ResourceArn": "$SubnetGroup.ARN"},
        "TagList",
    )
    m.make(
        "memorydb",
        "CreateUser",
        {
            "UserName": n,
            "AuthenticationMode": {"Type": "password", "Passwords": ["hunter2000hunter"]},
            "AccessString": "on",
            "Tags": pairs(OWNED),
        },
        by,
        {"ResourceArn": "$User.ARN"},
        "TagList",
    )
    m.make(
        "memorydb",
        "CreateCluster",
        {"ClusterName": n, "NodeType": "db.t4g.small", "ACLName": "open-access", "SubnetGroupName": n, "Tags": pairs(TEAM)},
        by,
        {"ResourceArn": "$Cluster.ARN"},
        "TagList",
    )


@service
def mq(m, n):
    m.make(
        "mq",
        "CreateConfiguration",
        {"Name": n, "EngineType": "ACTIVEMQ", "EngineVersion": "5.15.14", "Tags": TEAM},
        "ListTags",
        {"ResourceArn": "$Arn"},
        "Tags",
    )
    m.make(
        "mq",
        "CreateBroker",
        {
            "BrokerName": n,
            "EngineType": "ACTIVEMQ",
            "EngineVersion": "5.15.14",
            "DeploymentMode": "SINGLE_INSTANCE",
            "HostInstanceType": "mq.t3.micro",
            "PubliclyAccessible": False,
            "AutoMinorVersionUpgrade": False,
            "Users": [{"Username": "root", "Password": "hunter2000hunter"}],
            "Tags": TEAM,
        },
        "ListTags",
        {"ResourceArn": "$BrokerArn"},
        "Tags",
    )


@service
def networkmanager(m, n):
    us = {"region": "us-west-2"}
    m.make(
        "networkmanager",
        "CreateGlobalNetwork",
        {"Description": n, "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceArn": "$GlobalNetwork.GlobalNetworkArn"},
        "TagList",
        **us,
    )


@service
def opensearch(m, n):
    m.make("opensearch", "CreateDomain", {"DomainName": n, "TagList": pairs(OWNED)}, "ListTags", {"ARN": "$DomainStatus.ARN"}, "TagList")


@service
def opensearchserverless(m, n):
    policy = json.dumps({"Rules": [{"ResourceType": "collection", "Resource": [f"collection/{n}"]}], "AWSOwnedKey": False, "KmsARN": "k"})
    m.call("opensearchserverless", "CreateSecurityPolicy", name=n, type="encryption", policy=policy)
    m.make(
        "opensearchserverless",
        "CreateCollection",
        {"name": n, "type": "SEARCH", "tags": small(OWNED)},
        "ListTagsForResource",
        {"resourceArn": "$createCollectionDetail.arn"},
        "tags",
    )


@service
def organizations(m, n):
    us, by = {"region": "us-east-1"}, "ListTagsForResource"
    try:
        m.call("organizations", "CreateOrganization", "us-east-1")
    except Exception as e:  # there is one an account
        if "AlreadyInOrganization" not in type(e).__name__:
            raise
    root = m.call("organizations", "ListRoots", "us-east-1")["Roots"][0]["Id"]
    m.make(
        "organizations",
        "CreateOrganizationalUnit",
        {"ParentId": root, "Name": n, "Tags": pairs(TEAM)},
        by,
        {"ResourceId": "$OrganizationalUnit.Id"},
        "Tags",
        **us,
    )
    m.make(
        "organizations",
        "CreatePolicy",
        {"Name": n, "Description": "d", "Type": "SERVICE_CONTROL_POLICY", "Content": POLICY, "Tags": pairs(OWNED)},
        by,
        {"ResourceId": "$Policy.PolicySummary.Id"},
        "Tags",
        **us,
    )


@service
def osis(m, n):
    m.make(
        "osis",
        "CreatePipeline",
        {
            "PipelineName": n,
            "MinUnits": 1,
            "MaxUnits": 1,
            "Tags": pairs(TEAM),
            "PipelineConfigurationBody": 'version: "2"\np:\n  source:\n    http:\n      path: /a\n  sink:\n    - s3:\n        bucket: b\n',
        },
        "ListTagsForResource",
        {"Arn": "$Pipeline.PipelineArn"},
        "Tags",
    )


@service
def payment_cryptography(m, n):
    key = {
        "KeyUsage": "TR31_P0_PIN_ENCRYPTION_KEY",
        "KeyClass": "SYMMETRIC_KEY",
        "KeyAlgorithm": "TDES_3KEY",
        "KeyModesOfUse": {"Encrypt": True, "Decrypt": True},
    }
    m.make(
        "payment-cryptography",
        "CreateKey",
        {"KeyAttributes": key, "Exportable": True, "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceArn": "$Key.KeyArn"},
        "Tags",
    )


@service
def pinpoint(m, n):
    m.make(
        "pinpoint",
        "CreateApp",
        {"CreateApplicationRequest": {"Name": n, "tags": TEAM}},
        "ListTagsForResource",
        {"ResourceArn": "$ApplicationResponse.Arn"},
        "TagsModel.tags",
    )


@service
def pipes(m, n):
    m.make(
        "pipes",
        "CreatePipe",
        {
            "Name": n,
            "Source": "arn:aws:sqs:eu-west-1:123456789012:s",
            "Target": "arn:aws:sqs:eu-west-1:123456789012:t",
            "RoleArn": ROLE,
            "Tags": OWNED,
        },
        "ListTagsForResource",
        {"resourceArn": "$Arn"},
        "tags",
    )


@service
def quicksight(m, n):
    at = {"AwsAccountId": "123456789012"}
    m.make(
        "quicksight",
        "CreateDataSource",
        at | {"DataSourceId": n, "Name": n, "Type": "ATHENA", "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceArn": "$Arn"},
        "Tags",
    )


@service
def rds(m, n):
    def make(operation, outer, arn, **params):
        # CloudTrail leaves the outer member of RDS's answers out.
        return m.make(
            "rds",
            operation,
            params | {"Tags": pairs(TEAM)},
            "ListTagsForResource",
            {"ResourceName": f"${outer}.{arn}"},
            "TagList",
            response=lambda a: {k[0].lower() + k[1:]: v for k, v in a[outer].items() if isinstance(v, (str, int))},
        )

    database = {
        "Engine": "mysql",
        "DBInstanceClass": "db.t3.micro",
        "MasterUsername": "root",
        "MasterUserPassword": "hunter2000",
        "AllocatedStorage": 20,
    }
    make("CreateDBInstance", "DBInstance", "DBInstanceArn", DBInstanceIdentifier=n, **database)
    make("CreateDBSnapshot", "DBSnapshot", "DBSnapshotArn", DBInstanceIdentifier=n, DBSnapshotIdentifier=f"{n}-snap")
    make(
        "CreateDBParameterGroup",
        "DBParameterGroup",
        "DBParameterGroupArn",
        DBParameterGroupName=f"{n}-Pg",
        DBParameterGroupFamily="mysql8.0",
        Description="d",
    )
    make(
        "CreateOptionGroup",
        "OptionGroup",
        "OptionGroupArn",
        OptionGroupName=f"{n}-og",
        EngineName="mysql",
        MajorEngineVersion="8.0",
        OptionGroupDescription="d",
    )
    make(
        "CreateDBCluster",
        "DBCluster",
        "DBClusterArn",
        DBClusterIdentifier=f"{n}-c",
        Engine="aurora-mysql",
        MasterUsername="root",
        MasterUserPassword="hunter2000",
    )
    make(
        "CreateDBClusterSnapshot",
        "DBClusterSnapshot",
        "DBClusterSnapshotArn",
        DBClusterIdentifier=f"{n}-c",
        DBClusterSnapshotIdentifier=f"{n}-cs",
    )
    make(
        "CreateEventSubscription",
        "EventSubscription",
        "EventSubscriptionArn",
        SubscriptionName=n,
        SnsTopicArn="arn:aws:sns:eu-west-1:123456789012:t",
        SourceType="db-instance",
    )


@service
def redshift(m, n):
    def make(operation, outer, kind, id, **params):
        m.make(
            "redshift",
            operation,
            params | {"Tags": pairs(TEAM)},
            "DescribeTags",
            {"ResourceName": f"arn:aws:redshift:eu-west-1:123456789012:{kind}:{id}"},
            "TaggedResources[].Tag",
            response=lambda a: {k[0].lower() + k[1:]: v for k, v in a[outer].items() if isinstance(v, (str, int))},
        )

    make(
        "CreateCluster",
        "Cluster",
        "cluster",
        n,
        ClusterIdentifier=n,
        NodeType="ra3.large",
        MasterUsername="root",
        MasterUserPassword="Hunter2000",
    )
    make("CreateClusterSnapshot", "Snapshot", "snapshot", f"{n}/{n}-s", ClusterIdentifier=n, SnapshotIdentifier=f"{n}-s")
    make(
        "CreateClusterParameterGroup",
        "ClusterParameterGroup",
        "parametergroup",
        n,
        ParameterGroupName=n,
        ParameterGroupFamily="redshift-1.0",
        Description="d",
    )
    make(
        "CreateClusterSubnetGroup",
        "ClusterSubnetGroup",
        "subnetgroup",
        n,
        ClusterSubnetGroupName=n,
        Description="d",
        SubnetIds=network(m)[0],
    )


@service
def resiliencehub(m, n):
    m.make("resiliencehub", "CreateApp", {"name": n, "tags": TEAM}, "ListTagsForResource", {"resourceArn": "$app.appArn"}, "tags")


@service
def resource_groups(m, n):
    query = {
        "Type": "TAG_FILTERS_1_0",
        "Query": json.dumps({"ResourceTypeFilters": ["AWS::AllSupported"], "TagFilters": [{"Key": "team", "Values": ["red"]}]}),
    }
    m.make(
        "resource-groups", "CreateGroup", {"Name": n, "ResourceQuery": query, "Tags": TEAM}, "GetTags", {"Arn": "$Group.GroupArn"}, "Tags"
    )


@service
def route53(m, n):
    us = {"region": "us-east-1"}
    m.make(
        "route53",
        "CreateHostedZone",
        {"Name": f"{n}.example", "CallerReference": n},
        "ListTagsForResource",
        lambda a: {"ResourceType": "hostedzone", "ResourceId": a["HostedZone"]["Id"].split("/")[-1]},
        "ResourceTagSet.Tags",
        **us,
    )
    m.make(
        "route53",
        "CreateHealthCheck",
        {"CallerReference": n, "HealthCheckConfig": {"Type": "TCP", "IPAddress": "192.0.2.1", "Port": 80}},
        "ListTagsForResource",
        {"ResourceType": "healthcheck", "ResourceId": "$HealthCheck.Id"},
        "ResourceTagSet.Tags",
        **us,
    )


@service
def route53resolver(m, n):
    subnets, vpc = network(m)
    m.make(
        "route53resolver",
        "CreateResolverRule",
        {"CreatorRequestId": n, "Name": n, "RuleType": "RECURSIVE", "DomainName": f"{n}.example", "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceArn": "$ResolverRule.Arn"},
        "Tags",
    )
