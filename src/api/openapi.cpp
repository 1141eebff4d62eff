#include "api/openapi.h"

#include <map>
#include <set>

#include <appmesh/wire/json_text.h>

namespace appmesh::api {
namespace {

// Every JSON string is a YAML string.
std::string quoted(std::string_view text) {
  std::string out;
  wire::append_json_string(out, text);
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

void write_parameter(std::string& out, std::string_view name, std::string_view in, std::string_view description,
                     bool required) {
  out.append("        - name: ").append(quoted(name)).append("\n");
  out.append("          in: ").append(in).append("\n");
  if (!description.empty()) out.append("          description: ").append(quoted(description)).append("\n");
  if (required) out.append("          required: true\n");
  out.append("          schema: {type: string}\n");
}

void write_parameters(std::string& out, const Route& route) {
  std::string list;
  std::string_view rest = route.pattern;
  for (std::size_t open = rest.find('{'); open != std::string_view::npos; open = rest.find('{')) {
    const std::size_t close = rest.find('}', open);
    write_parameter(list, rest.substr(open + 1, close - open - 1), "path", "", true);
    rest.remove_prefix(close + 1);
  }
  for (const Parameter& parameter : route.parameters) {
    write_parameter(list, parameter.name, parameter.in == Parameter::In::query ? "query" : "header",
                    parameter.description, parameter.required);
  }
  if (!list.empty()) out.append("      parameters:\n").append(list);
}

void write_content(std::string& out, std::string_view indent, std::string_view type) {
  out.append(indent).append("content:\n");
  out.append(indent).append("  ").append(quoted(type)).append(": {}\n");
}

void write_answers(std::string& out, const Route& route) {
  std::map<int, Answer> answers;
  if (route.requirement.kind() != Requirement::Kind::free) {
    answers[401] = {.status = 401, .description = "No token, or one that is not valid any more"};
  }
  if (route.requirement.kind() == Requirement::Kind::permission) {
    answers[403] = {.status = 403, .description = "The permission is missing, or this object denies access"};
  }
  for (const Answer& answer : route.answers) answers[answer.status] = answer;
  if (route.answers.empty()) answers[200] = {.status = 200, .description = "Success"};
  out.append("      responses:\n");
  for (const auto& [status, answer] : answers) {
    out.append("        \"").append(std::to_string(status)).append("\":\n");
    out.append("          description: ").append(quoted(answer.description)).append("\n");
    if (!answer.content_type.empty()) write_content(out, "          ", answer.content_type);
  }
}

void write_operation(std::string& out, const Route& route) {
  out.append("    ").append(lower(to_string(route.method))).append(":\n");
  out.append("      summary: ").append(quoted(route.summary)).append("\n");
  if (!route.tag.empty()) out.append("      tags: [").append(quoted(route.tag)).append("]\n");
  switch (route.requirement.kind()) {
    case Requirement::Kind::free:
      out.append("      security: []\n");
      break;
    case Requirement::Kind::token:
      break;
    case Requirement::Kind::permission:
      out.append("      x-permission: ").append(quoted(route.requirement.id())).append("\n");
      break;
  }
  if (route.lasts) out.append("      x-lasts: true\n");
  write_parameters(out, route);
  if (!route.request_type.empty()) {
    out.append("      requestBody:\n");
    write_content(out, "        ", route.request_type);
  }
  write_answers(out, route);
}

constexpr std::string_view kIndexPage = R"html(<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>App Mesh</title></head>
<body>
<h1>App Mesh</h1>
<p>This daemon runs, schedules, watches and calls programs on this host.</p>
<p>Its REST interface is described in <a href="/openapi.yaml">openapi.yaml</a>; the command line is <code>appc --help</code>.</p>
</body>
</html>
)html";

Handler fixed_text(std::shared_ptr<const std::string> text, std::string type) {
  return [text = std::move(text), type = std::move(type)](Context&) -> boost::asio::awaitable<Response> {
    Response response;
    response.content_type = type;
    response.shared_body = text;
    co_return response;
  };
}

Route page_route(std::string pattern, std::string type, std::string summary, Handler handler) {
  return {.method = Method::get,
          .pattern = std::move(pattern),
          .requirement = Requirement::free(),
          .handler = std::move(handler),
          .summary = std::move(summary),
          .tag = "Documents",
          .answers = {{.status = 200, .description = "The document", .content_type = std::move(type)}}};
}

}  // namespace

std::string generate_openapi(const RouteTable& routes, std::string_view version) {
  std::map<std::string_view, std::map<Method, const Route*>> by_path;
  for (const auto& route : routes.routes()) by_path[route->pattern][route->method] = route.get();

  std::string out =
      "# Written from the route table by `APPMESH_WRITE=1 api_test --gtest_filter=OpenApi.*`. Do not edit.\n"
      "openapi: \"3.0.3\"\n"
      "info:\n"
      "  title: App Mesh\n"
      "  description: \"Runs, schedules, watches and calls programs on a host. Errors are JSON: {\\\"message\\\": "
      "text}. With the header X-Target-Host (host or host:port) another daemon answers any of these requests: one of "
      "REST.ForwardTargets, else 403; 502 says why it cannot be had, 508 that it was forwarded four times before.\"\n"
      "  version: ";
  out.append(quoted(version)).append("\n");
  out.append(
      "components:\n"
      "  securitySchemes:\n"
      "    bearer: {type: http, scheme: bearer, bearerFormat: JWT}\n"
      "security:\n"
      "  - bearer: []\n"
      "paths:\n");
  for (const auto& [path, methods] : by_path) {
    out.append("  ").append(quoted(path)).append(":\n");
    for (const auto& [method, route] : methods) write_operation(out, *route);
  }
  return out;
}

void add_document_routes(RouteTable& routes, std::string_view version) {
  constexpr std::string_view kHtml = "text/html; charset=utf-8";
  constexpr std::string_view kYaml = "application/x-yaml";
  const auto index = std::make_shared<const std::string>(kIndexPage);
  routes.add(page_route("/", std::string(kHtml), "What this server is", fixed_text(index, std::string(kHtml))));
  routes.add(
      page_route("/index.html", std::string(kHtml), "What this server is", fixed_text(index, std::string(kHtml))));
  // The text describes its own route too, so it is written after the route is there and before the first call.
  const auto document = std::make_shared<std::string>();
  routes.add(
      page_route("/openapi.yaml", std::string(kYaml), "This document", fixed_text(document, std::string(kYaml))));
  *document = generate_openapi(routes, version);
}

}  // namespace appmesh::api
