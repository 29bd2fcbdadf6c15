#!/usr/bin/env python3
"""Writes services.jsonl and calls.jsonl: how each tag call that catalog.tsv names is made, from AWS's service models.

A row of the catalog says which call tags a resource and which of its parameters names it; the models say the rest: method,
path, names on the wire, and the call that reads the tags. Run by `make generate` in the virtual environment of test/moto,
whose botocore is pinned. What no model says stands in the tables below.
"""
import json
import pathlib
import re

import botocore.endpoint_provider
import botocore.session
from botocore.model import ServiceModel

HERE = pathlib.Path(__file__).parent
CATALOG = HERE.parent / "catalog" / "catalog.tsv"
DOCS = HERE.parent.parent / "docs"

# Calls of a service that another service's model has.
ALIASES = {("lambda-core", "TagResource"): "lambda", ("s3", "TagResource"): "s3control", ("ses", "TagResource"): "sesv2"}

# Services that AWS took out of its models of late (botocore 1.43 has them).
# Both have the commonest calls of all.
RETIRED = ["finspace", "tnb"]

# The read of a call, where it is not the service's only one of these names, or its parameters have other names:
# (operation, {its parameter: the write's parameter or a constant}, path of the tags in the answer).
READ_NAMES = ["ListTagsForResource", "ListTags", "GetTags", "ListTagsOfResource", "ListResourceTags", "DescribeTags"]
READS = {
    ("acm", "AddTagsToCertificate"): ("ListTagsForCertificate", {}, None),
    ("acm", "TagResource"): ("ListTagsForResource", {}, None),
    ("autoscaling", "CreateOrUpdateTags"): (
        "DescribeTags",
        {"Filters.member.1.Name": "=auto-scaling-group", "Filters.member.1.Values.member.1": "Tags[].ResourceId"},
        None,
    ),
    ("cloudtrail", "AddTags"): ("ListTags", {"ResourceIdList": "ResourceId"}, "ResourceTagList[].TagsList"),
    ("codebuild", "UpdateProject"): ("BatchGetProjects", {"names": "name"}, "projects[].tags"),
    ("codebuild", "UpdateReportGroup"): ("BatchGetReportGroups", {"reportGroupArns": "arn"}, "reportGroups[].tags"),
    ("datapipeline", "AddTags"): ("DescribePipelines", {"pipelineIds": "pipelineId"}, "pipelineDescriptionList[].tags"),
    ("directconnect", "TagResource"): ("DescribeTags", {"resourceArns": "resourceArn"}, "resourceTags[].tags"),
    ("elb", "AddTags"): ("DescribeTags", {"LoadBalancerNames": "LoadBalancerNames"}, "TagDescriptions[].Tags"),
    ("elbv2", "AddTags"): ("DescribeTags", {"ResourceArns": "ResourceArns"}, "TagDescriptions[].Tags"),
    ("firehose", "TagDeliveryStream"): ("ListTagsForDeliveryStream", {}, None),
    ("glacier", "AddTagsToVault"): ("ListTagsForVault", {}, None),
    ("iam", "TagInstanceProfile"): ("ListInstanceProfileTags", {}, None),
    ("iam", "TagMFADevice"): ("ListMFADeviceTags", {}, None),
    ("iam", "TagOpenIDConnectProvider"): ("ListOpenIDConnectProviderTags", {}, None),
    ("iam", "TagPolicy"): ("ListPolicyTags", {}, None),
    ("iam", "TagRole"): ("ListRoleTags", {}, None),
    ("iam", "TagSAMLProvider"): ("ListSAMLProviderTags", {}, None),
    ("iam", "TagServerCertificate"): ("ListServerCertificateTags", {}, None),
    ("iam", "TagUser"): ("ListUserTags", {}, None),
    ("kinesis", "AddTagsToStream"): ("ListTagsForStream", {}, None),
    ("kinesisvideo", "TagStream"): ("ListTagsForStream", {}, None),
    ("ram", "TagResource"): (
        "GetResourceShares",
        {"resourceOwner": "=SELF", "resourceShareArns": "resourceShareArn"},
        "resourceShares[].tags",
    ),
    ("redshift", "CreateTags"): ("DescribeTags", {"ResourceName": "ResourceName"}, "TaggedResources[].Tag"),
    ("route53-recovery-readiness", "TagResource"): ("ListTagsForResources", {}, None),
    ("route53domains", "UpdateTagsForDomain"): ("ListTagsForDomain", {}, None),
    ("s3", "PutBucketTagging"): ("GetBucketTagging", {}, None),
    ("s3control", "PutJobTagging"): ("GetJobTagging", {}, None),
    ("s3control", "PutStorageLensConfigurationTagging"): ("GetStorageLensConfigurationTagging", {}, None),
    ("secretsmanager", "TagResource"): ("DescribeSecret", {}, None),
    ("servicecatalog", "UpdatePortfolio"): ("DescribePortfolio", {}, None),
    ("servicecatalog", "UpdateProduct"): ("DescribeProductAsAdmin", {}, None),
    ("sqs", "TagQueue"): ("ListQueueTags", {}, None),
}

# Calls whose read is left out. Keyspaces' is authorised as cassandra:Select, which reads the rows of every table.
UNREAD = {("keyspaces", "TagResource")}

# Where a service's IAM action of the read is not PREFIX:Operation (Service Authorization Reference).
READ_ACTIONS = {
    ("apigateway", "GetTags"): "apigateway:GET",
    ("apigatewayv2", "GetTags"): "apigateway:GET",
    ("sesv2", "ListTagsForResource"): "ses:ListTagsForResource",
}

# Calls that replace the whole set of tags. "all": AWS's own tags (aws:...) have to be in the new set too, "own": they must not.
REPLACES = {
    ("codebuild", "UpdateProject"): "own",
    ("codebuild", "UpdateReportGroup"): "own",
    ("s3", "PutBucketTagging"): "all",
    ("s3control", "PutJobTagging"): "own",
    ("s3control", "PutStorageLensConfigurationTagging"): "own",
}

# Headers that a service wants with every request, and its model doesn't have (the SDKs have them in their code).
HEADERS = {"apigateway": {"Accept": "application/json"}, "glacier": {"X-Amz-Glacier-Version": "2012-06-01"}}

# What the rules for a service's endpoints are told beside the Region: that a bucket goes into the path, not before the host; and
# no account, which the operation's host_prefix puts there.
ENDPOINTS = {"s3": {"Bucket": "bucket", "ForcePathStyle": True}, "s3control": {"RequiresAccountId": False}}

# Errors of a read that mean 'no tags'.
EMPTY = {("s3", "PutBucketTagging"): ["NoSuchTagSet"]}

TAG_MEMBERS = ["TagsToAdd", "AddTags", "TagsToUpdate", "ResourceTags", "resourceTags", "TagsList", "TagList", "Tagging", "TagsModel", "Tags", "tags"]
KEYS = {"key", "tagkey"}
VALUES = {"value", "tagvalue"}


def tag_calls():
    """The (service, prefix:Operation) pairs of the catalog and the parameters that its rows give."""
    calls = {}
    for line in CATALOG.read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        if line.startswith("#") or cells[0] == "service":
            continue
        for call in cells[7].split("|"):
            found = re.fullmatch(r"([^:(]+:\w+)\((.*)\)", call)
            if not found or call.startswith(("tagging:", "ec2:CreateTags")):
                continue
            names = [p.partition("=")[0] for p in found[2].split(",")]
            for service in cells[0].split("|"):
                params = calls.setdefault((service, found[1]), [])
                params += [n for n in names if n not in params]
    return calls


class Maker:
    def __init__(self):
        session = botocore.session.get_session()
        self.loader = session.get_component("data_loader")
        self.partitions = self.loader.load_data("partitions")
        self.models = {}

    def model(self, name):
        if name not in self.models:
            self.models[name] = ServiceModel(self.loader.load_service_model(name, "service-2"), name)
        return self.models[name]

    def service(self, name, operation):
        """How requests to a service are addressed, signed and written. Some services' hosts depend on the operation."""
        model = self.model(name)
        protocol = self.protocol(model)
        target = {
            "json-1.0": model.metadata.get("targetPrefix"),
            "json-1.1": model.metadata.get("targetPrefix"),
            "query": model.api_version,
            "rest-xml": self.namespace(model),
        }.get(protocol)
        made = {"service": name, "id": str(model.service_id), "signing": model.signing_name, "protocol": protocol}
        if target:
            made["target"] = target
        if name in HEADERS:
            made["headers"] = HEADERS[name]
        made["hosts"] = self.hosts(name, operation)
        return made

    @staticmethod
    def protocol(model):
        protocols = model.metadata.get("protocols") or [model.metadata["protocol"]]
        for p in ("rest-json", "rest-xml", "json", "query"):
            if p in protocols:
                return p if p != "json" else "json-" + model.metadata["jsonVersion"]
        return "cbor"

    @staticmethod
    def namespace(model):
        for name in model.operation_names:
            shape = model.operation_model(name).input_shape
            if shape is not None and shape.serialization.get("xmlNamespace"):
                return shape.serialization["xmlNamespace"]["uri"]
            for member in shape.members.values() if shape is not None else ():
                if member.serialization.get("xmlNamespace"):
                    return member.serialization["xmlNamespace"]["uri"]
        return ""

    def hosts(self, name, operation):
        """The service's hosts, by variant ("", fips, dual, fips-dual) and partition or Region, without what follows by rule.

        A host is 'HOST' or 'HOST@SIGNING_REGION'. Those of another partition follow from aws', those of a variant from the
        plain host: see Service.Host in endpoint.go, which does the same.
        """
        rules = self.loader.load_service_model(name, "endpoint-rule-set-1")
        provider = botocore.endpoint_provider.EndpointProvider(rules, self.partitions)
        fixed = {p.name: p.value for p in self.model(name).operation_model(operation).static_context_parameters}
        fixed |= ENDPOINTS.get(name, {})
        made = {}
        for variant in ("", "fips", "dual", "fips-dual"):
            for partition in self.partitions["partitions"]:  # aws is the first
                hosts = {}
                for region in partition["regions"]:
                    if not region.endswith("global"):
                        hosts[region] = self.host(provider, rules, fixed, partition["outputs"], region, variant)
                usual = self.usual({r: h for r, h in hosts.items() if h})
                key = " ".join(filter(None, [variant, partition["id"]]))
                if usual is None:
                    continue
                if usual != follows(made, variant, partition["id"]):
                    made[key] = usual
                for region, host in hosts.items():
                    if host and not same(usual, *host, region):
                        made[" ".join(filter(None, [variant, region]))] = literal(*host)
        return made

    @staticmethod
    def usual(hosts):
        """The host that most Regions of a partition have, as a template where it depends on the Region."""
        candidates = {literal(*h) for h in hosts.values()} | {template(*h, r) for r, h in hosts.items()}
        count = lambda c: (sum(same(c, *h, r) for r, h in hosts.items()), "{region}" in c, c)
        return max(candidates, key=count, default=None)

    @staticmethod
    def host(provider, rules, fixed, outputs, region, variant):
        params = {"Region": region, "UseFIPS": "fips" in variant, "UseDualStack": "dual" in variant}
        params |= fixed
        try:
            endpoint = provider.resolve_endpoint(**{k: v for k, v in params.items() if k in rules["parameters"]})
        except botocore.exceptions.BotoCoreError:
            return None
        host = endpoint.url.removeprefix("https://").partition("/")[0]
        for text, mark in ((outputs["dualStackDnsSuffix"], "{dual}"), (outputs["dnsSuffix"], "{dns}")):
            if host.endswith("." + text):
                host = host.removesuffix(text) + mark
                break
        auth = next((a for a in endpoint.properties.get("authSchemes", []) if a["name"] == "sigv4"), {})
        return host, auth.get("signingRegion", region)


def literal(host, signing):
    return f"{host}@{signing}"


def template(host, signing, region):
    host = re.sub(rf"(?<![a-z0-9-]){region}(?![a-z0-9-])", "{region}", host)
    return host if signing == region else f"{host}@{signing}"


def same(made, host, signing, region):
    made, _, fixed = made.partition("@")
    return (made.replace("{region}", region), fixed or region) == (host, signing)


def follows(made, variant, partition):
    """What Service.Host makes of the rest of the table."""
    if variant == "":
        return made.get("aws")
    plain = made.get(partition) or made["aws"]
    own = made.get(variant + " aws")
    if own and made.get(partition) is None:
        return own
    if "fips" in variant:
        first, _, rest = plain.partition(".")
        plain = f"{first}-fips.{rest}"
    return plain.replace("{dns}", "{dual}") if "dual" in variant else plain


class CallMaker:
    """Makes the line of one tag call."""

    def __init__(self, maker, service, api, params):
        self.service, self.api, self.params = service, api, params
        self.operation = api.partition(":")[2]
        self.model = maker.model(ALIASES.get((service, self.operation), service))
        self.protocol = maker.protocol(self.model)

    def line(self):
        made = {"service": self.service, "api": self.api}
        if self.model.service_name != self.service:
            made["via"] = self.model.service_name
        made["write"] = self.write()
        read = self.read()
        if read:
            made["read"] = read
        if (self.service, self.operation) in REPLACES:
            made["replaces"] = REPLACES[self.service, self.operation]
        return made

    def op(self, operation):
        """What every request of an operation has."""
        made = {"op": operation.name, "method": operation.http["method"], "uri": operation.http["requestUri"]}
        if self.protocol == "cbor":  # the protocol says where, not the model
            made["uri"] = f"/service/{self.model.metadata['targetPrefix']}/operation/{operation.name}"
        if operation.endpoint:
            made["host_prefix"] = operation.endpoint["hostPrefix"]
        return made

    def write(self):
        operation = self.model.operation_model(self.operation)
        shape = operation.input_shape
        made = self.op(operation)
        name = next(n for n in TAG_MEMBERS if n in shape.members and n not in self.params)
        made["in"] = [self.member(shape, p, p) for p in self.params]
        tags = shape.members[name]
        path = [tags.serialization.get("name", name)]
        if self.protocol == "rest-xml":
            payload = shape.serialization.get("payload")
            made["root"] = path.pop() if payload else shape.serialization["name"]
        made["tags"] = self.tags(tags, path, shape.serialization.get("payload"))
        missing = [m for m in shape.required_members if m != name and m not in self.params and m != "Tags"]
        if missing:
            raise SystemExit(f"{self.service} {self.api}: the catalog gives no {missing}")
        if operation.http_checksum.get("requestChecksumRequired") or operation.http_checksum_required:
            made["md5"] = True
        return made

    def member(self, shape, param, source):
        """Where a parameter goes, and from which of the catalog's it comes."""
        if param.startswith("Tags[]."):
            name = param.removeprefix("Tags[].")
            return {"from": source, "at": "tag", "name": name, **kind(shape.members["Tags"].member.members[name])}
        if "." in param:  # written out in a table above
            return {("value" if source[0] == "=" else "from"): source.lstrip("="), "at": "body", "name": param}
        member = shape.members[param]
        at = member.serialization.get("location", "body")
        name = member.serialization.get("name", param)
        made = {("value" if source[0] == "=" else "from"): source.lstrip("="), "at": at.replace("querystring", "query"), "name": name}
        if member.type_name == "list" and at == "body" and self.protocol == "query":
            made["name"] = name + "." + member.member.serialization.get("name", "member") + ".1"
        else:
            made |= kind(member)
        if len(self.params) > 1 and param not in shape.required_members and "from" in made:
            made["optional"] = True
        return made

    def tags(self, shape, path, payload=None):
        """The path from the body's root to each tag, and what key and value are called there; no names for a map."""
        if shape.type_name == "structure":
            if payload and self.protocol != "rest-xml":
                path = []
            name, inner = next((n, m) for n, m in shape.members.items() if m.type_name in ("map", "list"))
            return self.tags(inner, path + [inner.serialization.get("name", name)])
        if shape.type_name == "map":
            return {"path": path}
        if self.protocol in ("query", "rest-xml") and not shape.serialization.get("flattened"):
            path = path + [shape.member.serialization.get("name", "member")]
        return {"path": path, **pair(shape.member)}

    def read(self):
        given = READS.get((self.service, self.operation))
        if given is None and (self.service, self.operation) not in UNREAD:
            given = next(((n, {}, None) for n in READ_NAMES if n in self.model.operation_names), None)
        if given is None:
            return None
        name, sources, path = given
        operation = self.model.operation_model(name)
        shape, answer = operation.input_shape, operation.output_shape
        made = self.op(operation)
        prefix = self.api.partition(":")[0]
        made["action"] = READ_ACTIONS.get((self.model.service_name, name), f"{prefix}:{name}")
        if not sources:
            sources = {m: self.source(shape, m) for m in shape.members if self.source(shape, m)}
        made["in"] = [self.member(shape, p, s) for p, s in sources.items()]
        missing = [m for m in shape.required_members if m not in sources]
        if missing and self.service != "autoscaling":
            raise SystemExit(f"{self.service} {name}: nothing gives {missing}")
        made["tags"] = self.found(answer, path)
        more = self.more(shape, answer)
        if more:
            made["more"] = more
        if (self.service, self.operation) in EMPTY:
            made["empty"] = EMPTY[self.service, self.operation]
        return made

    def source(self, shape, member):
        """The write's parameter that a read's goes by: of the same name, or the one that names the resource in both."""
        if member in self.params:
            return member
        folded = {p.lower(): p for p in self.params}
        if member.lower() in folded:
            return folded[member.lower()]
        if member in shape.required_members and len(self.params) == 1:
            return self.params[0]
        return None

    def found(self, answer, path):
        """Where the answer has the tags: names from its root, '[]' after a list's; and key and value's names there."""
        if path is None:
            name, member = next((n, answer.members[n]) for n in [*TAG_MEMBERS, "TagSet", "TagInfoForResource", "ResourceTagSet", "Studio"] if n in answer.members)
            path = [member.serialization.get("name", name)]
            while member.type_name == "structure":
                name, member = next((n, m) for n, m in member.members.items() if m.type_name in ("map", "list"))
                path.append(member.serialization.get("name", name))
        else:
            member, names, path = answer, path.split("."), []
            for name in names:
                if member.type_name == "list":
                    member = member.member
                member = member.members[name.removesuffix("[]")]
                path.append(member.serialization.get("name", name.removesuffix("[]")))
                if name.endswith("[]") and self.protocol in ("query", "rest-xml"):
                    path.append(member.member.serialization.get("name", "member"))
        if answer.serialization.get("payload"):
            path = path[1:]
        if member.type_name == "map":
            return {"path": path}
        if member.type_name == "list":
            if self.protocol in ("query", "rest-xml") and not member.serialization.get("flattened"):
                path.append(member.member.serialization.get("name", "member"))
            member = member.member
        return {"path": path, **pair(member)}

    def more(self, shape, answer):
        """The member of the request that takes a token, and that of the answer that gives it."""
        for out in ("NextToken", "nextToken", "NextMarker", "Marker", "position"):
            for into in ("NextToken", "nextToken", "NextMarker", "Marker", "position"):
                if out in answer.members and into in shape.members:
                    return {"in": self.member(shape, into, into), "out": answer.members[out].serialization.get("name", out)}
        if "ExclusiveStartTagKey" in shape.members:
            return {"in": self.member(shape, "ExclusiveStartTagKey", "ExclusiveStartTagKey"), "flag": "HasMoreTags"}
        return None


def kind(shape):
    """The type of a member that is no string."""
    return {} if shape.type_name == "string" else {"type": shape.type_name}


def pair(shape):
    """What a tag's key and value are called."""
    names = {n.lower(): m.serialization.get("name", n) for n, m in shape.members.items()}
    key = next(names[n] for n in names if n in KEYS)
    return {"key": key, "value": next(names[n] for n in names if n in VALUES)}


def retired(service, api):
    made = {"path": ["tags"]}
    where = {"from": "resourceArn", "at": "uri", "name": "resourceArn"}
    return {
        "service": service,
        "api": api,
        "write": {"op": "TagResource", "method": "POST", "uri": "/tags/{resourceArn}", "in": [where], "tags": made},
        "read": {"op": "ListTagsForResource", "method": "GET", "uri": "/tags/{resourceArn}",
                 "action": service + ":ListTagsForResource", "in": [where], "tags": made},
    }


def main():
    maker, services, calls = Maker(), {}, []
    for (service, api), params in sorted(tag_calls().items()):
        if service in RETIRED:
            services[service] = {"service": service, "id": service, "signing": service, "protocol": "rest-json",
                                 "hosts": {"aws": service + ".{region}.{dns}"}}
            calls.append(retired(service, api))
            continue
        calls.append(CallMaker(maker, service, api, params).line())
        model = ALIASES.get((service, api.partition(":")[2]), service)
        if model not in services:
            services[model] = maker.service(model, api.partition(":")[2])
    for name, lines in (("services.jsonl", services.values()), ("calls.jsonl", calls)):
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        (HERE / name).write_text(text, encoding="utf-8")
    document(calls)


def document(calls):
    """Writes docs/tag-calls-table.md: what each call is, and against what it is tested."""
    moto = set(map(tuple, (line.split() for line in (DOCS / "tag-calls-moto.txt").read_text().splitlines())))
    lines = [
        "# The services' own tag calls",
        "",
        "Made by pkg/tagapi/calls.py. *botocore*: request and answer compared with what botocore writes and reads;",
        "*moto*: a resource made, tagged and read again at moto. See [tag-calls.md](tag-calls.md).",
        "",
        "| service | call | request | read by | tested against |",
        "| --- | --- | --- | --- | --- |",
    ]
    for call in calls:
        write, read = call["write"], call.get("read")
        tested = [] if call["service"] in RETIRED else ["botocore"]
        if (call["service"], call["api"]) in moto:
            tested.append("moto")
        request = f"{write['method']} {write['uri']}" if write["uri"] != "/" else write["op"]
        if call.get("replaces"):
            request += ", the whole set"
        lines.append(f"| {call['service']} | `{call['api']}` | `{request}` | {read['op'] if read else 'nothing'} | {', '.join(tested) or 'nothing'} |")
    (DOCS / "tag-calls-table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
