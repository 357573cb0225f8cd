"""The page ``/docs``, written from the OpenAPI document.

Belongs here: its layout. Does not belong here: any text about an endpoint. It loads nothing from
elsewhere and runs no script, so that it works where there is no internet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from pydantic_core import to_json

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ info.title }} API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111}
h2{margin-top:2.5rem;border-bottom:1px solid #ccc}code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:#f5f5f5;padding:.8rem;overflow:auto}summary{cursor:pointer;padding:.35rem 0}
.m{display:inline-block;width:4.5rem;font-weight:700}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .6rem .25rem 0;vertical-align:top;border-bottom:1px solid #eee}
</style></head><body>
<h1>{{ info.title }} API</h1><p>{{ info.description }}</p>
<p>The same for programs: <a href="/openapi.json"><code>/openapi.json</code></a> (OpenAPI
{{ openapi }}). Send <code>Authorization: Bearer &lt;token&gt;</code>; locally
<code>boxoffice token</code> makes one. <code>Accept: text/csv</code> or
<code>application/x-ndjson</code> gives flat rows where an answer has them.</p>
{% for tag, calls in groups.items() %}<h2>{{ tag }}</h2>
{% for call in calls %}<details><summary><span class="m">{{ call.method }}</span>
<code>{{ call.path }}</code> {{ call.summary }}</summary>
<p>{{ call.description }}</p>
{% if call.parameters %}<table><tr><th>Parameter</th><th>In</th><th>Type</th><th>Meaning</th></tr>
{% for p in call.parameters %}<tr><td><code>{{ p.name }}</code>{% if p.required %} *{% endif %}</td>
<td>{{ p.in }}</td><td><code>{{ p.type }}</code></td><td>{{ p.description }}</td></tr>{% endfor %}
</table>{% endif %}
<table><tr><th>Status</th><th></th></tr>
{% for status, text in call.responses %}<tr><td>{{ status }}</td><td>{{ text }}</td></tr>
{% endfor %}
</table>
{% if call.example %}<pre>{{ call.example }}</pre>{% endif %}</details>
{% endfor %}{% endfor %}</body></html>
"""
_TEMPLATE = Environment(autoescape=True).from_string(_PAGE)


def page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            described = _call(method, path, operation)
            groups.setdefault(operation.get("tags", ["Other"])[0], []).append(described)
    return _TEMPLATE.render(info=document["info"], openapi=document["openapi"], groups=groups)


def _call(method: str, path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    responses = operation.get("responses", {})
    content = responses.get("200", {}).get("content", {}).get("application/json", {})
    example = content.get("example")
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "parameters": [
            {
                "name": parameter["name"],
                "in": parameter["in"],
                "required": parameter.get("required", False),
                "type": _type(parameter.get("schema", {})),
                "description": parameter.get("description", ""),
            }
            for parameter in operation.get("parameters", [])
        ],
        "responses": sorted((code, found["description"]) for code, found in responses.items()),
        "example": None if example is None else to_json(example, indent=2).decode(),
    }


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type(part) for part in schema["anyOf"] if part.get("type") != "null")
    return str(schema.get("format") or schema.get("type") or "any")
