"""What the services' resources are made with: names, tags, and what others need."""

import io
import json
import zipfile

OTHER = "someone.else@example.com"
TEAM = {"team": "red"}
OWNED = {"team": "red", "Owner": OTHER}  # which autotagd is to leave as it is

ROLE = "arn:aws:iam::123456789012:role/service-role/any"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})

ALL = []


def service(function):
    """Registers a function that makes one resource of each kind. It gets the Maker and a name for them."""
    ALL.append(function)
    return function


def pairs(tags, key="Key", value="Value"):
    return [{key: k, value: v} for k, v in tags.items()]


def small(tags):
    return pairs(tags, "key", "value")


ROLE = "arn:aws:iam::123456789012:role/service-role/any"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})


def network(m):
    """Two subnets of moto's default VPC, and that."""
    subnets = m.call("ec2", "DescribeSubnets")["Subnets"]
    return [s["SubnetId"] for s in subnets[:2]], subnets[0]["VpcId"]


def directory(name, subnets, vpc):
    return {"Name": name, "Password": "Hunter2000!", "Size": "Small", "VpcSettings": {"VpcId": vpc, "SubnetIds": subnets}}


def code():
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w") as z:
        z.writestr("f.py", "def f(e, c): pass")
    return b.getvalue()
