"""OpenAPI 3.1 from the descriptor set: what the edge serves as HTTP and JSON.

Each `google.api.http` binding becomes an operation, and every other RPC that the
edge serves becomes `POST /<package>.<Service>/<Method>`. Server streams answer
`text/event-stream`. Comments become summaries and descriptions, protovalidate
rules become JSON Schema keywords, scopes become security requirements. JSON names
are the proto's own, since the edge prints them so.

Shapes follow the ProtoJSON mapping (protobuf.dev/programming-guides/json) and
OpenAPI 3.1.0.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClassesForFiles

Json = dict[str, Any]

WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?s$"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.api.HttpBody": {},
}
SCALARS: dict[int, Json] = {
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
}
SMALL = {
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_SINT32,
    FieldDescriptor.TYPE_FIXED32,
    FieldDescriptor.TYPE_SFIXED32,
}
RULES = {
    "min_len": "minLength",
    "max_len": "maxLength",
    "pattern": "pattern",
    "in": "enum",
    "gte": "minimum",
    "lte": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "min_items": "minItems",
    "max_items": "maxItems",
    "unique": "uniqueItems",
    "max_pairs": "maxProperties",
    "min_pairs": "minProperties",
}


@dataclass
class Contract:
    """The descriptor pool with its comments and the project's options."""

    pool: DescriptorPool
    files: list[descriptor_pb2.FileDescriptorProto]
    classes: dict[str, Any]
    comments: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, image: bytes) -> Contract:
        """Reads a FileDescriptorSet that carries source information."""
        files = list(descriptor_pb2.FileDescriptorSet.FromString(image).file)
        pool = DescriptorPool()
        for file in files:
            pool.Add(file)
        classes = GetMessageClassesForFiles([f.name for f in files], pool)
        contract = cls(pool=pool, files=files, classes=classes)
        for file in files:
            contract.comments.update(_comments(file))
        return contract

    def options(self, method: MethodDescriptor | FieldDescriptor, kind: str, extension: str) -> Any:
        """The options of an element, parsed with this pool's own extensions, and one of them."""
        options = self.classes[f"google.protobuf.{kind}"].FromString(method.GetOptions().SerializeToString())
        return options.Extensions[self.pool.FindExtensionByName(extension)]

    def rules(self, descriptor: FieldDescriptor) -> Any:
        """The protovalidate rules of a field."""
        return self.options(descriptor, "FieldOptions", "buf.validate.field")


def _comments(file: descriptor_pb2.FileDescriptorProto) -> dict[str, str]:
    """Leading comments by full name; paths as in SourceCodeInfo.Location.path."""
    found = {}
    for location in file.source_code_info.location:
        name = _name_of(file, list(location.path))
        if name and location.leading_comments:
            found[name] = " ".join(location.leading_comments.split())
    return found


def _name_of(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str | None:
    """The full name of the message, field, enum, service or method at a path."""
    node: Any = file
    name = file.package
    for number, index in zip(path[::2], path[1::2], strict=False):
        field_descriptor = node.DESCRIPTOR.fields_by_number.get(number)
        if field_descriptor is None or not field_descriptor.is_repeated:
            return None
        node = getattr(node, field_descriptor.name)[index]
        if not hasattr(node, "name") or not isinstance(node.name, str):
            return None
        name = f"{name}.{node.name}"
    return name if len(path) % 2 == 0 and path else None


@dataclass
class Schemas:
    """Component schemas, filled as operations need them."""

    contract: Contract
    schemas: Json = field(default_factory=dict)

    def message(self, descriptor: Descriptor) -> Json:
        """A schema or a reference to one."""
        if descriptor.full_name in WELL_KNOWN:
            return dict(WELL_KNOWN[descriptor.full_name])
        if descriptor.full_name not in self.schemas:
            self.schemas[descriptor.full_name] = {}
            self.schemas[descriptor.full_name] = self._object(descriptor)
        return {"$ref": f"#/components/schemas/{descriptor.full_name}"}

    def _object(self, descriptor: Descriptor) -> Json:
        properties = {f.name: self.property(f) for f in descriptor.fields}
        schema: Json = {"type": "object", "properties": properties}
        comment = self.contract.comments.get(descriptor.full_name)
        if comment:
            schema["description"] = comment
        required = [f.name for f in descriptor.fields if self.contract.rules(f).required]
        if required:
            schema["required"] = required
        return schema

    def property(self, descriptor: FieldDescriptor) -> Json:
        """The schema of a field with its rules and its comment."""
        rules = self.contract.rules(descriptor)
        if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
            value = descriptor.message_type.fields_by_name["value"]
            schema: Json = {"type": "object", "additionalProperties": self._value(value)}
            schema.update(_keywords(rules.map))
        elif descriptor.is_repeated:
            items = self._value(descriptor)
            items.update(_keywords(_typed(rules.repeated.items)))
            schema = {"type": "array", "items": items, **_keywords(rules.repeated)}
        else:
            schema = {**self._value(descriptor), **_keywords(_typed(rules))}
        comment = self.contract.comments.get(descriptor.full_name)
        return {**schema, "description": comment} if comment else schema

    def _value(self, descriptor: FieldDescriptor) -> Json:
        if descriptor.message_type is not None:
            return self.message(descriptor.message_type)
        if descriptor.enum_type is not None:
            return self._enum(descriptor.enum_type)
        if descriptor.type in SCALARS:
            return dict(SCALARS[descriptor.type])
        if descriptor.type in SMALL:
            return {"type": "integer", "format": "int32"}
        return {"type": "string", "pattern": r"^-?[0-9]+$", "format": "int64"}

    def _enum(self, descriptor: EnumDescriptor) -> Json:
        if descriptor.full_name not in self.schemas:
            self.schemas[descriptor.full_name] = {
                "type": "string",
                "enum": [v.name for v in descriptor.values],
                "description": self.contract.comments.get(descriptor.full_name, ""),
            }
        return {"$ref": f"#/components/schemas/{descriptor.full_name}"}


def _typed(rules: Any) -> Any:
    """The rules of the field's own type (`string`, `int32`, ...), or none."""
    kind = rules.WhichOneof("type") if rules is not None else None
    return getattr(rules, kind) if kind and kind not in {"repeated", "map"} else None


def _keywords(rules: Any) -> Json:
    """JSON Schema keywords for protovalidate rules that have one."""
    if rules is None:
        return {}
    found: Json = {}
    for descriptor, value in rules.ListFields():
        keyword = RULES.get(descriptor.name)
        if keyword:
            found[keyword] = list(value) if descriptor.is_repeated else value
        elif descriptor.name == "email" and value:
            found["format"] = "email"
    return found


@dataclass(frozen=True)
class Binding:
    """One HTTP form of a method."""

    verb: str
    path: str
    body: str


def bindings(contract: Contract, method: MethodDescriptor) -> list[Binding]:
    """The method's `google.api.http` bindings, or its generic form."""
    rule = contract.options(method, "MethodOptions", "google.api.http")
    found = []
    for one in (rule, *rule.additional_bindings):
        verb = one.WhichOneof("pattern")
        if verb:
            found.append(Binding(verb=verb, path=getattr(one, verb), body=one.body))
    service = method.containing_service.full_name
    return found or [Binding(verb="post", path=f"/{service}/{method.name}", body="*")]


def operation(contract: Contract, schemas: Schemas, method: MethodDescriptor, binding: Binding) -> Json:
    """One operation."""
    policy = contract.options(method, "MethodOptions", "soma.options.v1.method")
    in_path = re.findall(r"\{([a-z_]+)[^}]*\}", binding.path)
    comment = contract.comments.get(method.full_name, method.name)
    result: Json = {
        "operationId": method.full_name,
        "tags": [method.containing_service.full_name],
        "summary": comment.split(". ")[0].rstrip("."),
        "description": comment,
        "responses": {
            "201" if binding.path == "/v1/sessions" and binding.verb == "post" else "200": _answer(
                schemas, method
            ),
            "default": {"$ref": "#/components/responses/Error"},
        },
    }
    parameters = [_parameter(schemas, method.input_type.fields_by_name[n], "path") for n in in_path]
    if not binding.body and method.input_type.full_name not in WELL_KNOWN:
        parameters += [
            _parameter(schemas, f, "query")
            for f in method.input_type.fields
            if f.name not in in_path and f.message_type is None
        ]
    if parameters:
        result["parameters"] = parameters
    if binding.body:
        result["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body(schemas, method.input_type, in_path)}},
        }
    if policy.scope:
        result["security"] = [{"bearer": []}]
        result["x-soma-scope"] = policy.scope
    else:
        result["security"] = []
    return result


def _parameter(schemas: Schemas, descriptor: FieldDescriptor, place: str) -> Json:
    schema = schemas.property(descriptor)
    description = schema.pop("description", "")
    found: Json = {"name": descriptor.name, "in": place, "description": description, "schema": schema}
    if place == "path":
        found["required"] = True
    return found


def _body(schemas: Schemas, descriptor: Descriptor, without: list[str]) -> Json:
    """The request's schema; fields bound by the path are not repeated in the body."""
    reference = schemas.message(descriptor)
    if not without or "$ref" not in reference:
        return reference
    whole = schemas.schemas[descriptor.full_name]
    schema = {**whole, "properties": {k: v for k, v in whole["properties"].items() if k not in without}}
    required = [name for name in whole.get("required", []) if name not in without]
    if required:
        schema["required"] = required
    else:
        schema.pop("required", None)
    return schema


def _answer(schemas: Schemas, method: MethodDescriptor) -> Json:
    schema = schemas.message(method.output_type)
    if method.output_type.full_name == "google.api.HttpBody":
        kinds = ["application/json", "text/event-stream"] if method.server_streaming else ["application/json"]
        if method.name == "GetDocs":
            kinds = ["text/html"]
        return {"description": "The answer.", "content": {kind: {"schema": schema} for kind in kinds}}
    kind = "text/event-stream" if method.server_streaming else "application/json"
    text = "One `data:` line of JSON an event." if method.server_streaming else "The answer."
    return {"description": text, "content": {kind: {"schema": schema}}}


ERROR: Json = {
    "description": "A google.rpc.Status as JSON; `details` holds a google.rpc.ErrorInfo with its reason.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer", "description": "google.rpc.Code"},
                    "message": {"type": "string"},
                    "details": {"type": "array", "items": {"type": "object"}},
                },
            }
        }
    },
}


def describe(image: bytes, *, version: str) -> Json:
    """The OpenAPI document of everything that the edge serves."""
    contract = Contract.load(image)
    schemas = Schemas(contract)
    paths: Json = {}
    tags = []
    for file in contract.files:
        for service in contract.pool.FindFileByName(file.name).services_by_name.values():
            methods = [m for m in service.methods if _at_edge(contract, m)]
            if not service.full_name.startswith("soma.") or not methods:
                continue
            tags.append(
                {"name": service.full_name, "description": contract.comments.get(service.full_name, "")}
            )
            for method in methods:
                for binding in bindings(contract, method):
                    path = re.sub(r"\{([a-z_]+)=[^}]*\}", r"{\1}", binding.path)
                    paths.setdefault(path, {})[binding.verb] = operation(contract, schemas, method, binding)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SomaAgent",
            "version": version,
            "description": "Agents that can be held to account. Server streams answer text/event-stream.",
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.schemas.items())),
            "responses": {"Error": ERROR},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _at_edge(contract: Contract, method: MethodDescriptor) -> bool:
    """Whether the edge serves a method: ACCESS_TOKEN is 1, ACCESS_PUBLIC is 2."""
    return contract.options(method, "MethodOptions", "soma.options.v1.method").access in (1, 2)


def write(image: bytes, target: Path, *, version: str) -> None:
    """Writes the document with sorted, stable formatting."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(describe(image, version=version), indent=1) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), version="0.1.0")
