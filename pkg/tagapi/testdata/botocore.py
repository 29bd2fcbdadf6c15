"""What botocore makes of tag calls: a JSON object a line in, and one out for each. See botocore_test.go, which starts it.

Nothing of calls.py is used: what it has worked out is what the test doubts.
"""
import base64
import json
import os
import re
import sys
import traceback
from xml.etree import ElementTree

import botocore.awsrequest
import botocore.endpoint_provider
import botocore.exceptions
import botocore.loaders
import botocore.parsers
import botocore.serialize
import botocore.session
import botocore.validate

PROTOCOLS = {"json-1.0": "json", "json-1.1": "json", "cbor": "smithy-rpc-v2-cbor"}
KEYS, VALUES = {"key", "tagkey"}, {"value", "tagvalue"}
BESIDE = {"resourceid", "resourcetype", "propagateatlaunch", "resourcearn"}  # what some services' tags have too
TOKEN = re.compile("token|marker|^position$|^exclusivestart", re.I)
ACCOUNT = "111122223333"
# What a client knows beside Region and variant when it asks for an endpoint.
CONTEXT = {"s3": {"Bucket": "bucket", "ForcePathStyle": True}, "s3control": {"AccountId": ACCOUNT}}


class Plain(botocore.loaders.JSONFileLoader):
    """Reads models into plain dicts: they are in order too, and it takes half the time."""

    def _load_file(self, full_path, open_method):
        if not os.path.isfile(full_path):
            return None
        with open_method(full_path, "rb") as file:
            return json.loads(file.read())


session = botocore.session.get_session()
session.register_component("data_loader", botocore.loaders.create_loader(session.get_config_variable("data_path")))
loader = session.get_component("data_loader")
loader.file_loader = Plain()
emitter = session.get_component("event_emitter")
partitions = loader.load_data("partitions")
regions = [r for p in partitions["partitions"] for r in p["regions"] if not r.endswith("-global")]
models = {}


def operation_of(job):
    service = job["service"]
    if service not in models:
        models[service] = session.get_service_model(service)
    return models[service].operation_model(job["op"])


# Requests.


def write(job):
    operation = operation_of(job)
    params, each = {}, {}
    [place] = tag_places(operation.input_shape, without=job["params"])
    for name, value in job["params"].items():
        if name.startswith("Tags[]."):
            name = name.removeprefix("Tags[].")
            each[name] = typed(operation.input_shape.members["Tags"].member.members[name], value)
        else:
            params[name] = typed(operation.input_shape.members[name], value)
    put(params, place, tags_as(operation.input_shape, place, job["tags"], each))
    return request(job, operation, params)


def read(job):
    """A read's parameters are named as on the wire: that is all the table has."""
    operation = operation_of(job)
    params = {}
    for member in job["members"]:
        shape, at, steps = operation.input_shape, params, member["name"].split(".")
        if len(steps) > 1 and job["protocol"] == "query":
            set_by_wire_name(shape, at, steps, member["value"])
            continue
        [name] = [
            name for name, m in shape.members.items()
            if m.serialization.get("name", name) == member["name"]
            and m.serialization.get("location", "body").replace("querystring", "query") == member["at"]
        ]
        params[name] = typed(shape.members[name], member["value"])
    return request(job, operation, params)


def set_by_wire_name(shape, at, steps, value):
    """Follows Filters.member.1.Name."""
    name, *rest = steps
    [(name, member)] = [(n, m) for n, m in shape.members.items() if m.serialization.get("name", n) == name]
    if not rest:
        at[name] = typed(member, value)
        return
    word, number, *rest = rest
    assert member.type_name == "list" and word == member.member.serialization.get("name", "member") and number == "1", steps
    if rest:
        elements = at.setdefault(name, [{}])
        set_by_wire_name(member.member, elements[0], rest, value)
    else:
        at[name] = [typed(member.member, value)]


def typed(shape, value):
    if shape.type_name == "list":
        return [typed(shape.member, value)]
    if shape.type_name == "boolean":
        return {"true": True, "false": False}[value]
    return int(value) if shape.type_name in ("integer", "long") else value


def request(job, operation, params):
    protocol = PROTOCOLS.get(job["protocol"], job["protocol"])
    report = botocore.validate.ParamValidator().validate(params, operation.input_shape).generate_report()
    wrong = [line for line in report.splitlines() if "Invalid length" not in line]  # some services take no empty value
    assert not wrong, wrong
    made = botocore.serialize.create_serializer(protocol, include_validation=False).serialize_to_request(params, operation)
    service = operation.service_model.service_id.hyphenize()
    emitter.emit(f"before-call.{service}.{operation.name}", model=operation, params=made, request_signer=None, context={})
    path, _, query = made["url_path"].partition("?")
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    pairs += list((made["query_string"] or {}).items())
    body = made["body"]
    out = {
        "method": made["method"], "path": path, "query": pairs, "headers": made["headers"], "host_prefix": made.get("host_prefix", ""),
        "md5": bool(operation.http_checksum_required or operation.http_checksum.get("requestChecksumRequired")),
    }
    if isinstance(body, dict):
        out["form"] = body
    else:
        out["body"] = base64.b64encode(body).decode()
    return out


# Where tags are, in a request or an answer.


def is_tags(shape):
    """A map, a list of tags or, inside a list of resources, one tag."""
    if shape.type_name == "map":
        return shape.key.type_name == "string" and shape.value.type_name == "string"
    shape = shape.member if shape.type_name == "list" else shape
    if shape.type_name != "structure":
        return False
    names = {n.lower() for n in shape.members} - BESIDE
    return len(names) == 2 and bool(names & KEYS) and bool(names & VALUES)


def tag_places(shape, without=(), depth=0):
    """The paths to the tags of a structure, as names; the nearest only. Elements of lists are passed over in silence."""
    found = [(n,) for n, m in shape.members.items() if n not in without and "tag" in (n + m.name).lower() and is_tags(m)]
    if found or depth == 3:
        return found
    for name, member in shape.members.items():
        inner = member.member if member.type_name == "list" else member
        if inner.type_name == "structure" and name not in without:
            found += [(name, *rest) for rest in tag_places(inner, depth=depth + 1)]
    nearest = min(map(len, found), default=0)
    return [place for place in found if len(place) == nearest]


def shape_at(shape, place):
    for name in place:
        shape = (shape.member if shape.type_name == "list" else shape).members[name]
    return shape


def put(value, place, tags):
    """Puts tags, or one to each element of a list that is made as long, where place says."""
    name, *rest = place
    if not rest:
        value[name] = tags
        return
    inner = value.setdefault(name, {})
    if isinstance(inner, list) and isinstance(tags, list) and len(rest) == 1 and isinstance(inner[0].get(rest[0]), dict):
        value[name] = [inner[0] | {rest[0]: tag} for tag in tags]
        return
    put(inner[0] if isinstance(inner, list) else inner, rest, tags)


def get(value, place):
    """The opposite of put."""
    for name in place:
        if isinstance(value, list):
            value = [v[name] for v in value] if len(value) != 1 else value[0][name]
        else:
            value = value[name]
    return value


def tags_as(shape, place, tags, each):
    shape = shape_at(shape, place)
    if shape.type_name == "map":
        return dict(tags)
    shape = shape.member if shape.type_name == "list" else shape
    [key] = [n for n in shape.members if n.lower() in KEYS]
    [value] = [n for n in shape.members if n.lower() in VALUES]
    return [{key: k, value: v, **each} for k, v in tags]


# Answers.


def answer(job):
    """An answer that has everything that the model knows, of which the tags and the token are to be found."""
    operation = operation_of(job)
    shape = operation.output_shape
    value = fill(shape)
    [place] = tag_places(shape)
    tags = tags_as(shape, place, job["tags"], {})
    put(value, place, tags)
    pages = any(TOKEN.search(n) for n in operation.input_shape.members)
    tokens = [n for n, m in shape.members.items() if pages and m.type_name == "string" and TOKEN.search(n)]
    assert len(tokens) < 2, tokens
    for name in tokens:
        del value[name]
        if job["token"]:
            value[name] = job["token"]
    flag = "HasMoreTags" in value
    if flag:
        value["HasMoreTags"] = bool(job["token"])
    protocol = PROTOCOLS.get(job["protocol"], job["protocol"])
    body = encode(protocol, operation, value)
    response = {"status_code": 200, "headers": {}, "body": body}
    parsed = botocore.parsers.create_parser(protocol).parse(response, shape)
    for name in tokens:
        assert parsed.get(name, "") == job["token"], parsed
    if tags or protocol not in ("query", "rest-xml"):
        assert get(parsed, place) == tags, (parsed, tags)
    return {"body": base64.b64encode(body).decode(), "paged": "flag" if flag else "token" if tokens else ""}


def fill(shape, depth=0):
    match shape.type_name:
        case "structure":
            members = [(n, m) for n, m in shape.members.items() if "location" not in m.serialization and not is_document(m)]
            members = members[: 0 if depth > 5 else 1 if shape.is_tagged_union else None]
            return {n: fill(m, depth + 1) for n, m in members}
        case "list":
            return [fill(shape.member, depth + 1)] if depth < 6 else []
        case "map":
            return {"decoy": fill(shape.value, depth + 1)} if depth < 6 else {}
        case "string" | "character":
            return "decoy"
        case "blob":
            return b"decoy"
        case "boolean":
            return False
        case "float" | "double":
            return 1.5
        case "integer" | "long" | "timestamp":
            return 1700000000
    raise ValueError(shape.type_name)


def is_document(shape):
    return shape.type_name == "structure" and shape.is_document_type


def encode(protocol, operation, value):
    """Writes an answer with botocore's own serializers, which don't ask whether a shape is one of input."""
    shape = operation.output_shape
    serializer = botocore.serialize.SERIALIZERS[protocol if protocol != "query" else "rest-xml"]()
    payload = shape.serialization.get("payload")
    if payload:
        shape, value = shape.members[payload], value[payload]
    if protocol in ("json", "rest-json"):
        body = {}
        serializer._serialize(body, value, shape)
        return json.dumps(body).encode()
    if protocol == "smithy-rpc-v2-cbor":
        body = bytearray()
        serializer._serialize_data_item(body, value, shape)
        return bytes(body)
    root = ElementTree.Element(operation.name + "Response")
    name = shape.serialization.get("resultWrapper") or shape.serialization.get("name") or shape.name
    serializer._serialize(shape, value, root, name)
    if protocol == "query":
        ElementTree.SubElement(ElementTree.SubElement(root, "ResponseMetadata"), "RequestId").text = "decoy"
    else:
        [root] = root
    root.attrib.setdefault("xmlns", "http://example.com/doc/")
    return ElementTree.tostring(root, encoding="utf-8")


def error(job):
    protocol = PROTOCOLS.get(job["protocol"], job["protocol"])
    response = {"status_code": job["status"], "body": base64.b64decode(job["body"]), "headers": botocore.awsrequest.HeadersDict(job["headers"] or {})}
    found = botocore.parsers.create_parser(protocol).parse(response, None)["Error"]
    return {"code": found["Code"], "message": found["Message"]}


# Hosts.


def hosts(job):
    """By variant and Region, the host of the operations and the Region that requests are signed for; and the names in signatures."""
    seen = {json.dumps(endpoint_of(operation_of(job | {"op": op}))) for op in job["ops"]}
    assert len(seen) == 1, seen  # the table has one set of hosts a service
    [context, prefix] = json.loads(seen.pop())
    rules = loader.load_service_model(job["service"], "endpoint-rule-set-1")
    provider = botocore.endpoint_provider.EndpointProvider(rules, partitions)
    model = models[job["service"]]
    found, names = {}, set()
    for variant in ("", "fips", "dual", "fips-dual"):
        for region in regions:
            params = {"Region": region, "UseFIPS": "fips" in variant, "UseDualStack": "dual" in variant, **context}
            try:
                endpoint = provider.resolve_endpoint(**{k: v for k, v in params.items() if k in rules["parameters"]})
            except botocore.exceptions.BotoCoreError:
                continue
            host = endpoint.url.removeprefix("https://").removesuffix("/bucket")
            assert "/" not in host, host
            auth = next(s for s in endpoint.properties.get("authSchemes", [{}]) if s.get("name", "sigv4") == "sigv4")
            names.add(auth.get("signingName", model.signing_name))
            host = host if host.startswith(prefix) else prefix + host
            found.setdefault(variant, {})[region] = [host, auth.get("signingRegion", region)]
    return {"hosts": found, "names": sorted(names), "id": str(model.service_id)}


def endpoint_of(operation):
    """What the rules for a service's endpoint are told of an operation, and what the model puts before the host."""
    context = {p.name: p.value for p in operation.static_context_parameters}
    prefix = (operation.endpoint or {}).get("hostPrefix", "").replace("{AccountId}", ACCOUNT)
    return context | CONTEXT.get(operation.service_model.service_name, {}), prefix


def list_partitions(job):
    return {"partitions": partitions["partitions"]}


KINDS = {f.__name__: f for f in (write, read, answer, error, hosts, list_partitions)}
for line in sys.stdin:
    job = json.loads(line)
    try:
        out = KINDS[job["kind"]](job)
    except botocore.exceptions.UnknownServiceError:
        out = {"missing": True}
    except Exception:
        out = {"error": traceback.format_exc(limit=-1)}
    print(json.dumps(out))
