"""Resources of the services from E to K."""

from services.given import OWNED, POLICY, ROLE, TEAM, TRUST, pairs, small, network, service


@service
def ecr(m, n):
    m.make(
        "ecr",
        "CreateRepository",
        {"repositoryName": f"team/{n}", "tags": pairs(TEAM)},
        "ListTagsForResource",
        {"resourceArn": "$repository.repositoryArn"},
        "tags",
    )


@service
def ecs(m, n):
    by = "ListTagsForResource"
    cluster = m.make("ecs", "CreateCluster", {"clusterName": n, "tags": small(OWNED)}, by, {"resourceArn": "$cluster.clusterArn"}, "tags")
    m.make(
        "ecs",
        "RegisterTaskDefinition",
        {"family": n, "containerDefinitions": [{"name": "c", "image": "i", "memory": 64}], "tags": small(TEAM)},
        by,
        {"resourceArn": "$taskDefinition.taskDefinitionArn"},
        "tags",
    )
    m.call("ecs", "PutAccountSetting", name="serviceLongArnFormat", value="enabled")
    m.make(
        "ecs",
        "CreateService",
        {"cluster": cluster["cluster"]["clusterName"], "serviceName": n, "taskDefinition": n, "desiredCount": 0, "tags": small(TEAM)},
        by,
        {"resourceArn": "$service.serviceArn"},
        "tags",
    )


@service
def efs(m, n):
    system = m.make(
        "efs", "CreateFileSystem", {"CreationToken": n, "Tags": pairs(TEAM)}, "ListTagsForResource", {"ResourceId": "$FileSystemId"}, "Tags"
    )
    m.make(
        "efs",
        "CreateAccessPoint",
        {"ClientToken": n, "FileSystemId": system["FileSystemId"], "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceId": "$AccessPointId"},
        "Tags",
    )


@service
def eks(m, n):
    m.make(
        "eks",
        "CreateCluster",
        {"name": n, "roleArn": ROLE, "resourcesVpcConfig": {}, "tags": TEAM},
        "ListTagsForResource",
        {"resourceArn": "$cluster.arn"},
        "tags",
    )


@service
def elasticache(m, n):
    def make(operation, outer, **params):
        # As RDS: the outer member is left out.
        m.make(
            "elasticache",
            operation,
            params | {"Tags": pairs(TEAM)},
            "ListTagsForResource",
            {"ResourceName": f"${outer}.ARN" if outer else "$ARN"},
            "TagList",
            response=lambda a: {k[0].lower() + k[1:]: v for k, v in (a[outer] if outer else a).items() if isinstance(v, (str, int))},
        )

    make("CreateCacheCluster", "CacheCluster", CacheClusterId=n, Engine="redis", CacheNodeType="cache.t3.micro", NumCacheNodes=1)
    make("CreateReplicationGroup", "ReplicationGroup", ReplicationGroupId=f"{n}-r", ReplicationGroupDescription="d", Engine="redis")
    make("CreateUser", None, UserId=n, UserName=n, Engine="redis", AccessString="on ~* +@all", NoPasswordRequired=True)
    make("CreateCacheSubnetGroup", "CacheSubnetGroup", CacheSubnetGroupName=n, CacheSubnetGroupDescription="d", SubnetIds=network(m)[0])


@service
def elasticbeanstalk(m, n):
    m.call("elasticbeanstalk", "CreateApplication", ApplicationName=n)
    m.make(
        "elasticbeanstalk",
        "CreateEnvironment",
        {
            "ApplicationName": n,
            "EnvironmentName": n,
            "SolutionStackName": "64bit Amazon Linux 2018.03 v2.8.6 running Java 8",
            "Tags": pairs(OWNED),
        },
        "ListTagsForResource",
        {"ResourceArn": "$EnvironmentArn"},
        "ResourceTags",
    )


@service
def elb(m, n):
    m.make(
        "elb",
        "CreateLoadBalancer",
        {
            "LoadBalancerName": n,
            "AvailabilityZones": ["eu-west-1a"],
            "Tags": pairs(TEAM),
            "Listeners": [{"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 80}],
        },
        "DescribeTags",
        {"LoadBalancerNames": [n]},
        "TagDescriptions[0].Tags",
    )


@service
def elbv2(m, n):
    by, path = "DescribeTags", "TagDescriptions[0].Tags"
    subnets, vpc = network(m)
    balancer = m.make(
        "elbv2",
        "CreateLoadBalancer",
        {"Name": n, "Subnets": subnets, "Tags": pairs(OWNED)},
        by,
        {"ResourceArns": ["$LoadBalancers[0].LoadBalancerArn"]},
        path,
    )
    group = m.make(
        "elbv2",
        "CreateTargetGroup",
        {"Name": n, "Protocol": "HTTP", "Port": 80, "VpcId": vpc, "Tags": pairs(TEAM)},
        by,
        {"ResourceArns": ["$TargetGroups[0].TargetGroupArn"]},
        path,
    )
    action = [{"Type": "forward", "TargetGroupArn": group["TargetGroups"][0]["TargetGroupArn"]}]
    listener = m.make(
        "elbv2",
        "CreateListener",
        {
            "LoadBalancerArn": balancer["LoadBalancers"][0]["LoadBalancerArn"],
            "Protocol": "HTTP",
            "Port": 80,
            "DefaultActions": action,
            "Tags": pairs(TEAM),
        },
        by,
        {"ResourceArns": ["$Listeners[0].ListenerArn"]},
        path,
    )
    m.make(
        "elbv2",
        "CreateRule",
        {
            "ListenerArn": listener["Listeners"][0]["ListenerArn"],
            "Priority": 1,
            "Actions": action,
            "Conditions": [{"Field": "path-pattern", "Values": ["/x"]}],
            "Tags": pairs(TEAM),
        },
        by,
        {"ResourceArns": ["$Rules[0].RuleArn"]},
        path,
    )


@service
def emr(m, n):
    m.make(
        "emr",
        "RunJobFlow",
        {
            "Name": n,
            "Instances": {"MasterInstanceType": "m5.large", "InstanceCount": 1},
            "JobFlowRole": "r",
            "ServiceRole": "s",
            "Tags": pairs(TEAM),
        },
        "DescribeCluster",
        {"ClusterId": "$JobFlowId"},
        "Cluster.Tags",
    )


@service
def events(m, n):
    m.make(
        "events",
        "CreateEventBus",
        {"Name": f"{n}-bus", "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceARN": "$EventBusArn"},
        "Tags",
    )
    m.make(
        "events",
        "PutRule",
        {"Name": n, "ScheduleExpression": "rate(1 hour)", "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceARN": "$RuleArn"},
        "Tags",
    )


@service
def firehose(m, n):
    m.make(
        "firehose",
        "CreateDeliveryStream",
        {
            "DeliveryStreamName": n,
            "Tags": pairs(OWNED),
            "ExtendedS3DestinationConfiguration": {"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::b"},
        },
        "ListTagsForDeliveryStream",
        {"DeliveryStreamName": n},
        "Tags",
    )


@service
def fis(m, n):
    m.make(
        "fis",
        "CreateExperimentTemplate",
        {
            "clientToken": n,
            "description": n,
            "stopConditions": [{"source": "none"}],
            "roleArn": ROLE,
            "tags": OWNED,
            "actions": {"a": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}},
        },
        "ListTagsForResource",
        {"resourceArn": "$experimentTemplate.arn"},
        "tags",
    )


@service
def fsx(m, n):
    system = m.make(
        "fsx",
        "CreateFileSystem",
        {"FileSystemType": "LUSTRE", "StorageCapacity": 1200, "SubnetIds": network(m)[0][:1], "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceARN": "$FileSystem.ResourceARN"},
        "Tags",
    )
    m.make(
        "fsx",
        "CreateBackup",
        {"FileSystemId": system["FileSystem"]["FileSystemId"], "ClientRequestToken": n, "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceARN": "$Backup.ResourceARN"},
        "Tags",
    )


@service
def glacier(m, n):
    m.make("glacier", "CreateVault", {"vaultName": n}, "ListTagsForVault", {"vaultName": n}, "Tags")


@service
def glue(m, n):
    def make(operation, kind, tags=TEAM, **params):
        m.make(
            "glue",
            operation,
            params | ({"Tags": tags} if tags else {}),
            "GetTags",
            {"ResourceArn": f"arn:aws:glue:eu-west-1:123456789012:{kind}/{n}"},
            "Tags",
        )

    make("CreateDatabase", "database", DatabaseInput={"Name": n})
    make("CreateJob", "job", Name=n, Role=ROLE, Command={"Name": "glueetl", "ScriptLocation": "s3://b/s"})
    make("CreateCrawler", "crawler", Name=n, Role=ROLE, DatabaseName=n, Targets={"S3Targets": [{"Path": "s3://b"}]})
    make("CreateTrigger", "trigger", Name=n, Type="ON_DEMAND", Actions=[{"JobName": n}])
    make("CreateWorkflow", "workflow", Name=n)
    make("CreateRegistry", "registry", RegistryName=n)
    make("CreateConnection", "connection", ConnectionInput={"Name": n, "ConnectionType": "JDBC", "ConnectionProperties": {}})


@service
def iam(m, n):
    us = {"region": "us-east-1"}
    m.make(
        "iam",
        "CreateRole",
        {"RoleName": n, "Path": "/team/red/", "AssumeRolePolicyDocument": TRUST, "Tags": pairs(OWNED)},
        "ListRoleTags",
        {"RoleName": n},
        "Tags",
        **us,
    )
    m.make("iam", "CreateUser", {"UserName": n, "Path": "/team/"}, "ListUserTags", {"UserName": n}, "Tags", **us)
    m.make(
        "iam",
        "CreatePolicy",
        {"PolicyName": n, "Path": "/team/", "PolicyDocument": POLICY, "Tags": pairs(TEAM)},
        "ListPolicyTags",
        {"PolicyArn": "$Policy.Arn"},
        "Tags",
        **us,
    )
    m.make(
        "iam",
        "CreateInstanceProfile",
        {"InstanceProfileName": n, "Path": "/team/", "Tags": pairs(TEAM)},
        "GetInstanceProfile",
        {"InstanceProfileName": n},
        "InstanceProfile.Tags",
        **us,
    )
    m.make(
        "iam",
        "CreateOpenIDConnectProvider",
        {"Url": f"https://{n}.example", "ThumbprintList": ["0" * 40], "Tags": pairs(TEAM)},
        "ListOpenIDConnectProviderTags",
        {"OpenIDConnectProviderArn": "$OpenIDConnectProviderArn"},
        "Tags",
        **us,
    )
    m.make(
        "iam",
        "CreateServiceLinkedRole",
        {"AWSServiceName": "autoscaling.amazonaws.com", "CustomSuffix": n},
        "ListRoleTags",
        {"RoleName": "$Role.RoleName"},
        "Tags",
        **us,
    )
    m.make(
        "iam",
        "CreateSAMLProvider",
        {"Name": n, "SAMLMetadataDocument": "a" * 1000},
        "ListSAMLProviderTags",
        {"SAMLProviderArn": "$SAMLProviderArn"},
        "Tags",
        **us,
    )
    m.make(
        "iam",
        "UploadServerCertificate",
        {"ServerCertificateName": n, "CertificateBody": "c", "PrivateKey": "k"},
        "ListServerCertificateTags",
        {"ServerCertificateName": n},
        "Tags",
        **us,
    )
    m.make(
        "iam",
        "CreateVirtualMFADevice",
        {"VirtualMFADeviceName": n},
        "ListMFADeviceTags",
        {"SerialNumber": "$VirtualMFADevice.SerialNumber"},
        "Tags",
        **us,
    )


@service
def inspector2(m, n):
    m.make(
        "inspector2",
        "CreateFilter",
        {"name": n, "action": "NONE", "filterCriteria": {}, "tags": TEAM},
        "ListTagsForResource",
        {"resourceArn": "$arn"},
        "tags",
    )


@service
def kafka(m, n):
    m.make(
        "kafka",
        "CreateCluster",
        {
            "ClusterName": n,
            "KafkaVersion": "3.6.0",
            "NumberOfBrokerNodes": 2,
            "Tags": TEAM,
            "BrokerNodeGroupInfo": {"InstanceType": "kafka.t3.small", "ClientSubnets": ["subnet-1"]},
        },
        "ListTagsForResource",
        {"ResourceArn": "$ClusterArn"},
        "Tags",
    )


@service
def kinesis(m, n):
    m.make("kinesis", "CreateStream", {"StreamName": n, "ShardCount": 1, "Tags": OWNED}, "ListTagsForStream", {"StreamName": n}, "Tags")


@service
def kinesisanalyticsv2(m, n):
    m.make(
        "kinesisanalyticsv2",
        "CreateApplication",
        {"ApplicationName": n, "RuntimeEnvironment": "FLINK-1_18", "ServiceExecutionRole": ROLE, "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceARN": "$ApplicationDetail.ApplicationARN"},
        "Tags",
    )


@service
def kms(m, n):
    key = m.make(
        "kms",
        "CreateKey",
        {"Description": n, "MultiRegion": True, "Tags": pairs(TEAM, "TagKey", "TagValue")},
        "ListResourceTags",
        {"KeyId": "$KeyMetadata.KeyId"},
        "Tags",
    )["KeyMetadata"]["KeyId"]
    m.make(
        "kms",
        "ReplicateKey",
        {"KeyId": key, "ReplicaRegion": "us-west-2", "Tags": pairs(TEAM, "TagKey", "TagValue")},
        "ListResourceTags",
        {"KeyId": "$ReplicaKeyMetadata.KeyId"},
        "Tags",
        home="us-west-2",
    )
