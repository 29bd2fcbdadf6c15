#!/usr/bin/env python3
"""Deploys what deploy/ has at moto, and tells what came of it, as one JSON object.

    .venv/bin/python deploy.py URL stack TEMPLATE PARAMETERS
    .venv/bin/python deploy.py URL ecs TASK_DEFINITION SERVICE

The first makes a stack of a CloudFormation template; PARAMETERS is a JSON object of names and values. The second gives
two files to the calls of ECS that they are for, whose model checks every name and type. The answer has

    policies    of each role, by its name in the template: its documents
    trust       of each role: who may assume it
    tables      the physical names
    task        the task definition
"""

import json
import sys
import uuid

import boto3
import botocore.config

REGION = "eu-west-1"


def main(url, kind, *args):
    def client(service):
        return boto3.client(
            service,
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key="secret",
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )

    made = {"policies": {}, "trust": {}, "tables": [], "task": None}
    {"stack": stack, "ecs": by_hand}[kind](client, made, *args)
    json.dump(made, sys.stdout)


def by_hand(client, made, task_definition, service):
    ecs = client("ecs")
    with open(task_definition) as t, open(service) as s:
        task, service = json.load(t), json.load(s)
    ecs.create_cluster(clusterName=service["cluster"])
    made["task"] = ecs.register_task_definition(**task)["taskDefinition"]
    vpc, subnet = network(client)  # a service is refused where its network is not there
    group = client("ec2").create_security_group(GroupName="autotagd", Description="autotagd", VpcId=vpc)["GroupId"]
    service["networkConfiguration"]["awsvpcConfiguration"] |= {"subnets": [subnet], "securityGroups": [group]}
    ecs.create_service(**service)


def network(client):
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return vpc, ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]


def stack(client, made, template, parameters):
    parameters = json.loads(parameters)
    cloudformation, iam = client("cloudformation"), client("iam")
    with open(template) as f:
        body = f.read()
    if "AWS::EC2::VPC::Id" in body:  # what the stack finds there
        vpc, subnet = network(client)
        parameters |= {"VpcId": vpc, "SubnetIds": subnet}
    # moto takes a default that is a list for text.
    for p in cloudformation.get_template_summary(TemplateBody=body)["Parameters"]:
        if p["ParameterType"] == "CommaDelimitedList":
            parameters.setdefault(p["ParameterKey"], p["DefaultValue"])
    name = f"stack-{uuid.uuid4()}"
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=body,
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    state = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    if state["StackStatus"] != "CREATE_COMPLETE":
        sys.exit(f"the stack is {state['StackStatus']}: {state.get('StackStatusReason')}")

    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    for r in (r for page in pages for r in page["StackResourceSummaries"]):
        logical, physical = r["LogicalResourceId"], r["PhysicalResourceId"]
        match r["ResourceType"]:
            case "AWS::DynamoDB::Table":
                made["tables"].append(physical)
            case "AWS::IAM::Role":
                made["trust"][logical] = iam.get_role(RoleName=physical)["Role"]["AssumeRolePolicyDocument"]
                made["policies"][logical] = policies(iam, physical)
            case "AWS::ECS::TaskDefinition":
                made["task"] = client("ecs").describe_task_definition(taskDefinition=physical)["taskDefinition"]


def policies(iam, role):
    documents = []
    for p in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=p["PolicyArn"])["Policy"]["DefaultVersionId"]
        documents.append(iam.get_policy_version(PolicyArn=p["PolicyArn"], VersionId=version)["PolicyVersion"]["Document"])
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        documents.append(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
    return documents


if __name__ == "__main__":
    main(*sys.argv[1:])
