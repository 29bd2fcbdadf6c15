#!/usr/bin/env python3
"""Writes untaggable.tsv: the create-like calls of AWS's service models that are not in catalog.tsv.

Those calls make nothing that takes tags, so that an event of another create-like name is probably newer than this release.
Run by `make generate` after a change of catalog.tsv, in the virtual environment of test/moto, whose botocore is pinned.
"""
import collections
import re

import botocore
import botocore.session
from botocore.model import ServiceModel

VERBS = "Allocate Clone Copy Create Import Launch Provision Purchase Register Replicate Request Restore Run".split()
CREATE_LIKE = re.compile(r"(%s)(?![a-z])." % "|".join(VERBS))
DATE = re.compile(r"_?\d{4}_?\d{2}_?\d{2}(v\d+)?$")


def main():
    sources, known = collections.defaultdict(set), set()
    with open("catalog.tsv", encoding="utf-8") as f:
        for line in f:
            cells = line.rstrip("\n").split("\t")
            if line.startswith("#") or cells[0] == "service":
                continue
            for service in cells[0].split("|"):
                sources[service].update(cells[1].split("|"))
            for source in cells[1].split("|"):
                known.update((source, DATE.sub("", name)) for name in cells[2].split("|"))
    loader = botocore.session.get_session().get_component("data_loader")
    calls = collections.defaultdict(set)
    for service in loader.list_available_services("service-2"):
        model = ServiceModel(loader.load_service_model(service, "service-2"), service)
        mine = sources.get(service) or {f"{model.signing_name}.amazonaws.com", f"{model.endpoint_prefix}.amazonaws.com"}
        for name in model.operation_names:
            name = DATE.sub("", name)
            if CREATE_LIKE.match(name):
                for source in mine:
                    if (source, name) not in known:
                        calls[source].add(name)
    with open("untaggable.tsv", "w", encoding="utf-8") as f:
        f.write(f"# Made by untaggable.py from botocore {botocore.__version__}: create-like calls that make nothing taggable.\n")
        for source, names in sorted(calls.items()):
            f.write(source + "\t" + " ".join(sorted(names)) + "\n")


if __name__ == "__main__":
    main()
