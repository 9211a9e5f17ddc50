// The page of the API: all that it shows comes from /openapi.json, and every request that it makes goes to this gateway.

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function resolve(document_, part) {
  let found = part;
  while (found && found.$ref) {
    found = found.$ref.slice(2).split("/").reduce((at, key) => at[key], document_);
  }
  return found;
}

// What a schema says, in a line or a small tree of text; `seen` ends what refers to itself.
function words(document_, schema, indent = "", seen = []) {
  const name = schema.$ref;
  if (name && seen.includes(name)) return name.split("/").pop();
  const inside = name ? [...seen, name] : seen;
  const found = resolve(document_, schema);
  const choices = found.anyOf || found.oneOf;
  if (choices) return choices.map((each) => words(document_, each, indent, inside)).join(" | ");
  if ("const" in found) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (found.type === "array") return `[${words(document_, found.items || {}, indent, inside)}]`;
  if (found.properties) {
    const required = new Set(found.required || []);
    const lines = Object.entries(found.properties).map(([key, value]) => {
      const text = resolve(document_, value).description;
      const mark = required.has(key) ? "" : "?";
      return `${indent}  ${key}${mark}: ${words(document_, value, `${indent}  `, inside)}${text ? `  // ${text}` : ""}`;
    });
    return `{\n${lines.join("\n")}\n${indent}}`;
  }
  if (found.additionalProperties && typeof found.additionalProperties === "object") {
    return `{*: ${words(document_, found.additionalProperties, indent, inside)}}`;
  }
  const limits = ["format", "minimum", "maximum", "pattern"].filter((key) => found[key] !== undefined).map((key) => `${key} ${found[key]}`);
  const types = Array.isArray(found.type) ? found.type.join(" | ") : found.type || "any";
  return limits.length ? `${types} (${limits.join(", ")})` : types;
}

let made = 0;

function field(document_, parameter) {
  const id = `parameter-${++made}`;
  const schema = parameter.schema.items || parameter.schema;
  let input;
  if (schema.enum && !parameter.schema.items) {
    input = element("select", { id }, element("option", { value: "" }, ""), ...schema.enum.map((each) => element("option", { value: each }, each)));
  } else {
    const example = parameter.in === "path" ? parameter.example : undefined;
    input = element("input", { id, type: "text", value: example, placeholder: schema.default ?? parameter.example });
  }
  const mark = parameter.required ? " *" : "";
  const line = [
    element("label", { for: id }, `${parameter.name}${mark}`),
    input,
    element("span", { class: "soft" }, `${parameter.description || ""} ${words(document_, parameter.schema)}`),
  ];
  return { line, value: () => input.value.trim(), parameter };
}

function request(path, fields, body) {
  const query = new URLSearchParams();
  const headers = {};
  let address = path;
  for (const { parameter, value } of fields) {
    const text = value();
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(text));
    else if (text && parameter.in === "query") query.append(parameter.name, text);
    else if (text && parameter.in === "header") headers[parameter.name] = text;
  }
  const token = byId("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const asked = query.toString();
  return { address: asked ? `${address}?${asked}` : address, headers };
}

async function send(method, path, fields, body, output) {
  const text = body ? body.value.trim() : "";
  const { address, headers } = request(path, fields, text || body?.dataset.always);
  output.replaceChildren(element("p", { class: "soft" }, `${method} ${address} …`));
  const began = performance.now();
  try {
    const response = await fetch(address, { method, headers, body: text || undefined, cache: "no-store", signal: AbortSignal.timeout(60_000) });
    const said = await response.text();
    const took = Math.round(performance.now() - began);
    const kept = ["content-type", "etag", "link", "location", "retry-after", "x-request-id"].filter((name) => response.headers.has(name));
    output.replaceChildren(
      element("p", { class: response.ok ? "" : "problem" }, `${response.status} ${response.statusText} · ${took} ms · ${method} ${address}`),
      element("dl", {}, ...kept.flatMap((name) => [element("dt", {}, name), element("dd", {}, response.headers.get(name))])),
      element("pre", { tabindex: "0", "aria-label": "Answer" }, pretty(said)),
    );
  } catch (error) {
    output.replaceChildren(element("p", { class: "problem" }, `${method} ${address}: ${error.message}`));
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function answers(document_, operation) {
  const list = element("dl");
  for (const [status, answer] of Object.entries(operation.responses)) {
    list.append(element("dt", {}, status), element("dd", {}, answer.description));
  }
  const good = Object.entries(operation.responses).filter(([status, answer]) => status.startsWith("2") && answer.content);
  const shapes = good.map(([status, answer]) => {
    const schema = Object.values(answer.content)[0].schema;
    return element("pre", { tabindex: "0", "aria-label": `Shape of ${status}` }, words(document_, schema));
  });
  return [element("h3", {}, "Answers"), list, ...shapes];
}

// Made when it is opened first: a few hundred fields that nobody looks at need not be there.
function fill(details, document_, method, path, operation) {
  const fields = (operation.parameters || []).map((each) => field(document_, resolve(document_, each)));
  const form = element("form");
  if (operation.description) form.append(element("p", {}, operation.description));
  if (fields.length) form.append(element("h3", {}, "Parameters"), element("div", { class: "parameters" }, ...fields.flatMap((each) => each.line)));
  let body;
  if (operation.requestBody) {
    const id = `body-${++made}`;
    const content = operation.requestBody.content["application/json"];
    body = element("textarea", { id, spellcheck: "false" });
    body.value = JSON.stringify(content.example, null, 2);
    body.dataset.always = "yes";
    const shape = element("pre", { tabindex: "0", "aria-label": "Shape of the body" }, words(document_, content.schema));
    form.append(element("h3", {}, element("label", { for: id }, "Body")), body, shape);
  }
  const output = element("div", { "aria-live": "polite" });
  const upgrade = operation.responses["101"];
  if (!upgrade) form.append(element("p", {}, element("button", { type: "submit" }, `Send ${method}`)));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(method, path, fields, body, output);
  });
  details.append(form, output, ...answers(document_, operation));
}

function shown(document_, method, path, operation) {
  const name = method.toUpperCase();
  const summary = element(
    "summary",
    {},
    element("span", { class: `method ${method}` }, name),
    element("span", { class: "path" }, path),
    element("span", { class: "said" }, operation.summary),
  );
  const details = element("details", { class: "operation", id: operation.operationId }, summary);
  details.dataset.words = `${name} ${path} ${operation.summary} ${operation.tags}`.toLowerCase();
  details.addEventListener("toggle", () => fill(details, document_, name, path, operation), { once: true });
  return details;
}

function filter() {
  const wanted = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const section of document.querySelectorAll("#operations section")) {
    let any = false;
    for (const each of section.querySelectorAll("details.operation")) {
      each.hidden = !wanted.every((word) => each.dataset.words.includes(word));
      any ||= !each.hidden;
      count += each.hidden ? 0 : 1;
    }
    section.hidden = !any;
  }
  byId("count").textContent = `${count} operations`;
}

function show(document_) {
  byId("about").textContent = `${document_.info.title} ${document_.info.version}: ${document_.info.summary}`;
  const operations = Object.entries(document_.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ tag: operation.tags[0], made: shown(document_, method, path, operation) })),
  );
  const sections = document_.tags.map((tag) =>
    element(
      "section",
      { "aria-label": tag.name },
      element("h2", {}, tag.name),
      element("p", { class: "soft" }, tag.description),
      ...operations.filter((each) => each.tag === tag.name).map((each) => each.made),
    ),
  );
  byId("operations").replaceChildren(...sections);
  filter();
  const wanted = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
  if (wanted) wanted.open = true;
}

byId("filter").addEventListener("input", filter);
try {
  const response = await fetch("/openapi.json", { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  show(await response.json());
} catch (error) {
  byId("about").textContent = `The description cannot be read: ${error.message}. Load the page again.`;
  byId("about").className = "problem";
}
