"""The page ``/docs``, written from the OpenAPI document.

Belongs here: its layout. Does not belong here: any text about an endpoint. It loads nothing from
elsewhere and runs no script, so that it works where there is no internet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from pydantic_core import to_json

_PAGE = """{% macro words(text) %}{% for part in text.split("`") %}
{%- if loop.index is even %}<code>{{ part }}</code>{% else %}{{ part }}{% endif %}
{%- endfor %}{% endmacro %}<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ info.title }} API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111}
h2{margin-top:2.5rem;border-bottom:1px solid #ccc}code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:#f5f5f5;padding:.8rem;overflow:auto;max-height:32rem}
summary{cursor:pointer;padding:.35rem 0}
.m{display:inline-block;width:4.5rem;font-weight:700}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .6rem .25rem 0;vertical-align:top;border-bottom:1px solid #eee}
</style></head><body>
<h1>{{ info.title }} API</h1><p>{{ words(info.description) }}</p>
<p>The same for programs: <a href="/openapi.json"><code>/openapi.json</code></a> (OpenAPI
{{ openapi }}). Send <code>Authorization: Bearer &lt;token&gt;</code>; locally
<code>boxoffice token</code> makes one. <code>Accept: text/csv</code> or
<code>application/x-ndjson</code> gives flat rows where an answer has them.</p>
{% for tag, calls in groups.items() %}<h2>{{ tag }}</h2>
{% for call in calls %}<details><summary><span class="m">{{ call.method }}</span>
<code>{{ call.path }}</code> {{ call.summary }}</summary>
<p>{{ words(call.description) }}</p>
<pre>{{ call.curl }}</pre>
{% for title, fields in call.fields.items() %}{% if fields %}<table>
<tr><th>{{ title }}</th><th>Type</th><th>Meaning</th></tr>
{% for field in fields %}<tr><td><code>{{ field.name }}</code>{% if field.required %} *{% endif %}
</td><td><code>{{ field.type }}</code></td><td>{{ words(field.description) }}</td></tr>{% endfor %}
</table>{% endif %}{% endfor %}
<table><tr><th>Status</th><th></th></tr>
{% for status, text in call.responses %}<tr><td>{{ status }}</td><td>{{ words(text) }}</td></tr>
{% endfor %}
</table>
{% if call.example %}<pre>{{ call.example }}</pre>{% endif %}</details>
{% endfor %}{% endfor %}</body></html>
"""
_TEMPLATE = Environment(autoescape=True).from_string(_PAGE)


def page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    schemas = document.get("components", {}).get("schemas", {})
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            described = _call(method.upper(), path, operation, schemas)
            groups.setdefault(operation.get("tags", ["Other"])[0], []).append(described)
    return _TEMPLATE.render(info=document["info"], openapi=document["openapi"], groups=groups)


def _call(
    method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]
) -> dict[str, Any]:
    responses = operation.get("responses", {})
    answered = [found for code, found in sorted(responses.items()) if code < "300"]
    example = answered[0].get("content", {}).get("application/json", {}).get("example")
    body = _body(operation, schemas)
    return {
        "method": method,
        "path": path,
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "curl": _curl(method, path, operation, body),
        "fields": {
            "Parameter": [
                {"required": False, "description": "", **found, "type": _type(found["schema"])}
                for found in operation.get("parameters", [])
            ],
            "Field of the body": [
                {
                    "name": name,
                    "required": name in body.get("required", ()),
                    "type": _type(found),
                    "description": found.get("description", ""),
                }
                for name, found in body.get("properties", {}).items()
            ],
        },
        "responses": sorted((code, found["description"]) for code, found in responses.items()),
        "example": None if example is None else to_json(example, indent=2).decode(),
    }


def _body(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    """Schema of what is sent; empty if nothing is."""
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    references = [part["$ref"] for part in (schema, *schema.get("anyOf", ())) if "$ref" in part]
    found: Mapping[str, Any] = schema
    for reference in references:
        found = schemas[reference.rpartition("/")[2]]
    return found


def _curl(method: str, path: str, operation: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """The call without what may be left out."""
    query = "&".join(
        f"{found['name']}=…"
        for found in operation.get("parameters", [])
        if found["in"] == "query" and found.get("required")
    )
    words = ["curl"] + ([] if method == "GET" else ["-X", method])
    if operation.get("security"):
        words.append('-H "Authorization: Bearer $TOKEN"')
    if body:
        needed = dict.fromkeys(body.get("required", ()), "…")
        words.append(f"--json '{to_json(needed).decode()}'")
    return " ".join([*words, f'"$API{path}{"?" + query if query else ""}"'])


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type(part) for part in schema["anyOf"] if part.get("type") != "null")
    return str(schema.get("format") or schema.get("type") or "any")
