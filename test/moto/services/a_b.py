"""Resources of the services from A to B."""

from services.given import OWNED, ROLE, TEAM, TRUST, pairs, small, service


@service
def acm(m, n):
    m.make(
        "acm",
        "RequestCertificate",
        {"DomainName": f"{n}.example", "Tags": pairs(TEAM)},
        "ListTagsForCertificate",
        {"CertificateArn": "$CertificateArn"},
        "Tags",
    )


@service
def acm_pca(m, n):
    subject = {"KeyAlgorithm": "RSA_2048", "SigningAlgorithm": "SHA256WITHRSA", "Subject": {"CommonName": n}}
    m.make(
        "acm-pca",
        "CreateCertificateAuthority",
        {"CertificateAuthorityConfiguration": subject, "CertificateAuthorityType": "ROOT", "Tags": pairs(TEAM)},
        "ListTags",
        {"CertificateAuthorityArn": "$CertificateAuthorityArn"},
        "Tags",
    )


@service
def amp(m, n):
    workspace = m.make("amp", "CreateWorkspace", {"alias": n, "tags": OWNED}, "ListTagsForResource", {"resourceArn": "$arn"}, "tags")[
        "workspaceId"
    ]
    m.make(
        "amp",
        "CreateRuleGroupsNamespace",
        {"workspaceId": workspace, "name": n, "data": b"groups: []", "tags": TEAM},
        "ListTagsForResource",
        {"resourceArn": "$arn"},
        "tags",
    )


@service
def apigateway(m, n):
    api = m.call("apigateway", "CreateRestApi", name=n)["id"]  # moto knows the tags of stages alone
    root = m.call("apigateway", "GetResources", restApiId=api)["items"][0]["id"]
    of = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    m.call("apigateway", "PutMethod", authorizationType="NONE", **of)
    m.call("apigateway", "PutIntegration", type="MOCK", **of)
    deployment = m.call("apigateway", "CreateDeployment", restApiId=api)["id"]
    stage = {"stageName": "prod", "deploymentId": deployment, "tags": OWNED}
    m.make(
        "apigateway",
        "CreateStage",
        {"restApiId": api} | stage,
        "GetTags",
        {"resourceArn": f"arn:aws:apigateway:eu-west-1::/restapis/{api}/stages/prod"},
        "tags",
        request={"restApiId": api, "createStageInput": stage},
    )


@service
def apigatewayv2(m, n):
    def arn(kind, id):
        return lambda a: {"ResourceArn": f"arn:aws:apigateway:eu-west-1::/{kind}/{a[id]}"}

    m.make("apigatewayv2", "CreateApi", {"Name": n, "ProtocolType": "HTTP", "Tags": OWNED}, "GetTags", arn("apis", "ApiId"), "Tags")
    m.make(
        "apigatewayv2",
        "CreateVpcLink",
        {"Name": n, "SubnetIds": ["subnet-1"], "Tags": TEAM},
        "GetTags",
        arn("vpclinks", "VpcLinkId"),
        "Tags",
    )


@service
def appconfig(m, n):
    app = m.make(
        "appconfig",
        "CreateApplication",
        {"Name": n, "Tags": TEAM},
        "ListTagsForResource",
        lambda a: {"ResourceArn": f"arn:aws:appconfig:eu-west-1:123456789012:application/{a['Id']}"},
        "Tags",
    )["Id"]
    m.make(
        "appconfig",
        "CreateConfigurationProfile",
        {"ApplicationId": app, "Name": n, "LocationUri": "hosted", "Tags": TEAM},
        "ListTagsForResource",
        lambda a: {"ResourceArn": f"arn:aws:appconfig:eu-west-1:123456789012:application/{app}/configurationprofile/{a['Id']}"},
        "Tags",
    )


@service
def appmesh(m, n):
    m.make(
        "appmesh", "CreateMesh", {"meshName": n, "tags": small(OWNED)}, "ListTagsForResource", {"resourceArn": "$mesh.metadata.arn"}, "tags"
    )
    m.make(
        "appmesh",
        "CreateVirtualRouter",
        {
            "meshName": n,
            "virtualRouterName": n,
            "spec": {"listeners": [{"portMapping": {"port": 80, "protocol": "http"}}]},
            "tags": small(TEAM),
        },
        "ListTagsForResource",
        {"resourceArn": "$virtualRouter.metadata.arn"},
        "tags",
    )


@service
def appsync(m, n):
    m.make(
        "appsync",
        "CreateGraphqlApi",
        {"name": n, "authenticationType": "API_KEY", "tags": OWNED},
        "ListTagsForResource",
        {"resourceArn": "$graphqlApi.arn"},
        "tags",
    )


@service
def athena(m, n):
    m.make(
        "athena",
        "CreateWorkGroup",
        {"Name": n, "Tags": pairs(OWNED)},
        "ListTagsForResource",
        {"ResourceARN": f"arn:aws:athena:eu-west-1:123456789012:workgroup/{n}"},
        "Tags",
    )
    m.make(
        "athena",
        "CreateDataCatalog",
        {"Name": n, "Type": "HIVE", "Parameters": {}, "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceARN": f"arn:aws:athena:eu-west-1:123456789012:datacatalog/{n}"},
        "Tags",
    )
    m.make(
        "athena",
        "CreateCapacityReservation",
        {"Name": n, "TargetDpus": 24, "Tags": pairs(TEAM)},
        "ListTagsForResource",
        {"ResourceARN": f"arn:aws:athena:eu-west-1:123456789012:capacity-reservation/{n}"},
        "Tags",
    )


@service
def autoscaling(m, n):
    m.call("autoscaling", "CreateLaunchConfiguration", LaunchConfigurationName=n, ImageId="ami-12c6146b", InstanceType="t3.micro")
    for name, tags in ("plain", {}), ("owned", OWNED):
        m.make(
            "autoscaling",
            "CreateAutoScalingGroup",
            {
                "AutoScalingGroupName": f"{n} {name}",
                "LaunchConfigurationName": n,
                "MinSize": 0,
                "MaxSize": 1,
                "AvailabilityZones": ["eu-west-1a"],
                "Tags": [
                    t | {"ResourceId": f"{n} {name}", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False} for t in pairs(tags)
                ],
            },
            "DescribeTags",
            {"Filters": [{"Name": "auto-scaling-group", "Values": [f"{n} {name}"]}]},
            "Tags",
        )


@service
def backup(m, n):
    m.make(
        "backup",
        "CreateBackupVault",
        {"BackupVaultName": n, "BackupVaultTags": OWNED},
        "ListTags",
        {"ResourceArn": "$BackupVaultArn"},
        "Tags",
    )
    plan = {"BackupPlanName": n, "Rules": [{"RuleName": "r", "TargetBackupVaultName": n}]}
    m.make(
        "backup", "CreateBackupPlan", {"BackupPlan": plan, "BackupPlanTags": TEAM}, "ListTags", {"ResourceArn": "$BackupPlanArn"}, "Tags"
    )
    report = {
        "ReportPlanName": n.replace("-", "_"),
        "ReportDeliveryChannel": {"S3BucketName": "b"},
        "ReportSetting": {"ReportTemplate": "BACKUP_JOB_REPORT"},
    }
    m.make("backup", "CreateReportPlan", report | {"ReportPlanTags": TEAM}, "ListTags", {"ResourceArn": "$ReportPlanArn"}, "Tags")


@service
def batch(m, n):
    m.call("iam", "CreateRole", "us-east-1", RoleName=f"{n}-batch", AssumeRolePolicyDocument=TRUST)
    environment = m.make(
        "batch",
        "CreateComputeEnvironment",
        {
            "computeEnvironmentName": n,
            "type": "UNMANAGED",
            "state": "ENABLED",
            "serviceRole": f"arn:aws:iam::123456789012:role/{n}-batch",
            "tags": TEAM,
        },
        "ListTagsForResource",
        {"resourceArn": "$computeEnvironmentArn"},
        "tags",
    )
    m.make(
        "batch",
        "CreateJobQueue",
        {
            "jobQueueName": n,
            "state": "ENABLED",
            "priority": 1,
            "tags": TEAM,
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": environment["computeEnvironmentArn"]}],
        },
        "ListTagsForResource",
        {"resourceArn": "$jobQueueArn"},
        "tags",
    )
    m.make(
        "batch",
        "RegisterJobDefinition",
        {"jobDefinitionName": n, "type": "container", "containerProperties": {"image": "i", "vcpus": 1, "memory": 64}, "tags": TEAM},
        "ListTagsForResource",
        {"resourceArn": "$jobDefinitionArn"},
        "tags",
    )


@service
def bedrock(m, n):
    m.make(
        "bedrock",
        "CreateModelCustomizationJob",
        {
            "jobName": n,
            "customModelName": n,
            "roleArn": ROLE,
            "baseModelIdentifier": "amazon.titan-text-lite-v1",
            "hyperParameters": {},
            "trainingDataConfig": {"s3Uri": "s3://b/t"},
            "outputDataConfig": {"s3Uri": "s3://b/o"},
            "jobTags": small(TEAM),
        },
        "ListTagsForResource",
        {"resourceARN": "$jobArn"},
        "tags",
    )


@service
def bedrock_agent(m, n):
    m.make(
        "bedrock-agent",
        "CreateAgent",
        {"agentName": n, "agentResourceRoleArn": ROLE, "tags": OWNED},
        "ListTagsForResource",
        {"resourceArn": "$agent.agentArn"},
        "tags",
    )
    m.make(
        "bedrock-agent",
        "CreateKnowledgeBase",
        {
            "name": n,
            "roleArn": ROLE,
            "tags": TEAM,
            "knowledgeBaseConfiguration": {
                "type": "VECTOR",
                "vectorKnowledgeBaseConfiguration": {"embeddingModelArn": "arn:aws:bedrock:eu-west-1::foundation-model/m"},
            },
            "storageConfiguration": {
                "type": "OPENSEARCH_SERVERLESS",
                "opensearchServerlessConfiguration": {
                    "collectionArn": "arn:aws:aoss:eu-west-1:123456789012:collection/abcdefghij1234567890",
                    "vectorIndexName": "i",
                    "fieldMapping": {"vectorField": "v", "textField": "t", "metadataField": "m"},
                },
            },
        },
        "ListTagsForResource",
        {"resourceArn": "$knowledgeBase.knowledgeBaseArn"},
        "tags",
    )


@service
def bedrock_agentcore_control(m, n):
    name = n.replace("-", "_")
    m.make(
        "bedrock-agentcore-control",
        "CreateMemory",
        {"name": name, "eventExpiryDuration": 30, "tags": TEAM},
        "ListTagsForResource",
        {"resourceArn": "$memory.arn"},
        "tags",
    )
    m.make(
        "bedrock-agentcore-control",
        "CreateGateway",
        {"name": n, "roleArn": ROLE, "protocolType": "MCP", "authorizerType": "AWS_IAM", "tags": TEAM},
        "ListTagsForResource",
        {"resourceArn": "$gatewayArn"},
        "tags",
    )
