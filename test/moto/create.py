#!/usr/bin/env python3
"""Makes resources at moto, says what CloudTrail would record of it, and reads their tags back, all with boto3.

    .venv/bin/python create.py URL

Each line of standard input is a command, and each answer is one line of JSON:

    make ROUND [SERVICE...]   make one of each kind (services/), named after ROUND: a list of what was made
    tags                      the tags of all that was made, by id

Nothing here knows how autotagd tags: that is what the test compares it with.
"""

import base64
import datetime
import json
import sys

import boto3
import botocore.config
import jmespath

import services

ACCOUNT = "123456789012"
REGION = "eu-west-1"

# Where CloudTrail's eventSource is not the prefix of the service's endpoint.
SOURCES = {
    "amp": "aps",
    "bedrock-agent": "bedrock",
    "bedrock-agentcore-control": "bedrock-agentcore",
    "cloudhsmv2": "cloudhsm",
    "ecr": "ecr",
    "lexv2-models": "lex",
    "mq": "amazonmq",
    "payment-cryptography": "payment-cryptography",
    "pinpoint": "mobiletargeting",
    "s3control": "s3",
    "sagemaker": "sagemaker",
    "sesv2": "ses",
    "timestream-write": "timestream",
}


class Maker:
    def __init__(self, url):
        self.session = boto3.Session("test", "test", region_name=REGION)
        self.url = url
        self.clients = {}
        self.made = []
        self.reads = {}  # by id: how the tags are read

    def client(self, service, region=REGION):
        if (service, region) not in self.clients:
            config = botocore.config.Config(retries={"total_max_attempts": 1}, inject_host_prefix=False, s3={"addressing_style": "path"})
            client = self.session.client(service, region, endpoint_url=self.url, config=config)
            client.meta.events.register("before-sign.s3-control", without_account)
            self.clients[service, region] = client
        return self.clients[service, region]

    def call(self, service, operation, region=REGION, **params):
        """Makes what others need, and is in no record."""
        client = self.client(service, region)
        method = next(m for m, o in client.meta.method_to_api_mapping.items() if o == operation)
        answer = getattr(client, method)(**params)
        answer.pop("ResponseMetadata", None)
        return answer

    def make(
        self, service, operation, params, read, by, path, *, region=REGION, home=None, event=None, request=None, response=None, then=None
    ):
        """Makes a resource whose tags the operation read has at path. "$..." in by is a path in the answer.

        home is the resource's Region, where it is another one. event, request and response are what CloudTrail writes where
        that is not as in the model; then is called before the tags are read.
        """
        one = {"service": service, "event": event or operation, "id": len(self.made), "region": region, "error": ""}
        self.made.append(one)
        try:
            answer = self.call(service, operation, region, **params)
            model = self.client(service, region).meta.service_model
            shapes = model.operation_model(operation)
            prefix = SOURCES.get(service, model.endpoint_prefix)
            one["source"] = prefix + ".amazonaws.com"
            one["request"] = request or record(shapes.input_shape, params)
            one["response"] = response(answer) if response else record(shapes.output_shape, answer)
            if then:
                then(answer)
            self.reads[one["id"]] = (service, read, home or region, filled(by, answer), path)
            one["before"] = self.tags(one["id"])
            return answer
        except Exception as e:
            one["error"] = f"{type(e).__name__}: {e}"[:300]
            return None

    def tags(self, id):
        service, operation, region, params, path = self.reads[id]
        try:
            found = jmespath.search(path, self.call(service, operation, region, **params)) or {}
        except Exception as e:
            if "NoSuchTagSet" in str(e):
                return {}
            raise
        if isinstance(found, dict):
            return found
        return {member(tag, "key", "tagkey"): member(tag, "value", "tagvalue") for tag in found}

    def round(self, name, only):
        begin = len(self.made)
        for function in services.ALL:
            if only and function.__name__ not in only:
                continue
            at = len(self.made)
            try:
                function(self, name)
            except Exception as e:
                if not self.made[at:] or not self.made[-1]["error"]:
                    text = f"{type(e).__name__}: {e}"[:300]
                    self.made.append({"service": function.__name__, "event": "", "id": len(self.made), "error": text})
        return self.made[begin:]


def without_account(request, **_):
    """S3 Control puts the account before the host, which is an address here."""
    request.url = request.url.replace(f"//{ACCOUNT}.", "//")


def member(tag, *names):
    return next((v for k, v in tag.items() if k.lower() in names), "")


def filled(value, answer):
    if callable(value):
        return value(answer)
    if isinstance(value, dict):
        return {k: filled(v, answer) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v, answer) for v in value]
    if isinstance(value, str) and value.startswith("$"):
        return jmespath.search(value[1:], answer)
    return value


def record(shape, value):
    """What CloudTrail writes of a request or an answer: members with a small first letter, and dates as texts."""
    if value is None or shape is None:
        return None
    if shape.type_name == "structure":
        return {k[0].lower() + k[1:]: record(shape.members[k], v) for k, v in value.items() if k in shape.members} or None
    if shape.type_name == "list":
        return [record(shape.member, v) for v in value]
    if shape.type_name == "map":
        return {k: record(shape.value, v) for k, v in value.items()}
    if isinstance(value, datetime.datetime):
        return value.strftime("%b %-d, %Y, %-I:%M:%S %p")
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if hasattr(value, "read"):
        return None
    return value


def main():
    maker = Maker(sys.argv[1])
    for line in sys.stdin:
        command, *args = line.split()
        if command == "make":
            answer = maker.round(args[0], args[1:])
        else:
            answer = {id: maker.tags(id) for id, one in enumerate(maker.made) if not one["error"]}
        print(json.dumps(answer), flush=True)


main()
