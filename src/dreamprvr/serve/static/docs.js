// Shows the server's own description of its interface, openapi.json.

import { byId, el } from "./dom.js";

const BOUNDS = [
  ["minimum", "at least"], ["exclusiveMinimum", "more than"], ["maximum", "at most"],
  ["exclusiveMaximum", "less than"], ["minLength", "characters, at least"],
  ["maxLength", "characters, at most"], ["maxItems", "values, at most"],
];

/** A type in words: "integer, at least 1, at most 100, else 10". */
function words(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.anyOf) return schema.anyOf.map(words).join(" or ");
  const items = schema.items ? ` of ${words(schema.items)}` : "";
  const bounds = BOUNDS.filter(([name]) => name in schema)
    .map(([name, word]) => `, ${word} ${schema[name]}`);
  return `${schema.type || "anything"}${items}${bounds.join("")}`;
}

/** A table of parameters or fields: [name, schema, is it required]. */
function table(rows) {
  return el("table", {}, el("tbody", {}, rows.map(([name, schema, isRequired]) => el("tr", {},
    el("th", { scope: "row" }, el("code", {}, name)),
    el("td", {}, words(schema)),
    el("td", {}, [isRequired && "required", schema.description].filter(Boolean).join("; "))))));
}

function route(path, method, { description, parameters = [], responses }) {
  const [kind, answer] = Object.entries(responses[200].content)[0];
  return el("section", {},
    el("h2", {}, `${method.toUpperCase()} ${path}`),
    el("p", {}, description),
    parameters.length > 0 && table(parameters.map(({ name, schema, required, description: text }) =>
      [name, { description: text, ...schema }, required])),
    el("p", {}, "Answer: ", el("code", {}, answer.schema?.$ref ? words(answer.schema) : kind)));
}

const { paths, components } = await (await fetch("/openapi.json")).json();
byId("docs").append(
  ...Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, about]) => route(path, method, about))),
  el("h1", {}, "Objects"),
  ...Object.entries(components.schemas).map(([name, { description, properties, required = [] }]) =>
    el("section", {}, el("h2", {}, name), el("p", {}, (description || "").split("\n\n")[0]),
      table(Object.entries(properties).map(([field, schema]) =>
        [field, schema, required.includes(field)])))),
);
