"""Reads a page of metrics as Prometheus' own client for Python does, and prints it as JSON."""

import json
import sys

from prometheus_client import openmetrics, parser
import prometheus_client.openmetrics.parser

parse = {
    "prometheus": parser.text_string_to_metric_families,
    "openmetrics": openmetrics.parser.text_string_to_metric_families,
}[sys.argv[1]]

with open(sys.argv[2], encoding="utf-8") as page:
    families = list(parse(page.read()))
print(json.dumps([
    {
        "name": family.name,
        "type": family.type,
        "help": family.documentation,
        "samples": [[it.name, it.labels, it.value] for it in family.samples],
    }
    for family in families
]))
