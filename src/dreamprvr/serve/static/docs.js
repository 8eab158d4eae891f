// Shows openapi.json, in which the server describes its interface.

import { byId, el } from "./dom.js";

const BOUNDS = [
  ["minimum", "at least"], ["maximum", "at most"], ["exclusiveMaximum", "less than"],
  ["minLength", "at least", " character"], ["maxLength", "at most", " characters"],
  ["maxItems", "at most"],
];

/** A type in words: "integer, at least 1, at most 100; 10 if left out". */
function words(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.anyOf) return schema.anyOf.map(words).join(" or ");
  const items = schema.items ? ` of ${words(schema.items)}` : "";
  const bounds = BOUNDS.filter(([name]) => name in schema)
    .map(([name, word, unit = ""]) => `, ${word} ${schema[name].toLocaleString("en")}${unit}`);
  const usual = ["number", "boolean"].includes(typeof schema.default)
    ? `; ${schema.default} if left out` : "";
  const type = schema.type === "array" ? "list" : schema.type || "anything";
  return `${type}${items}${bounds.join("")}${usual}`;
}

/** A table of parameters or fields: [name, schema, is it required]. */
function table(rows) {
  return el("table", {}, el("tbody", {}, rows.map(([name, schema, isRequired]) => el("tr", {},
    el("th", { scope: "row" }, el("code", {}, name)),
    el("td", {}, words(schema)),
    el("td", {}, [isRequired && "required", schema.description].filter(Boolean).join("; "))))));
}

function route(path, method, { description, parameters = [], requestBody, responses }) {
  const [kind, answer] = Object.entries(responses[200].content)[0];
  return el("section", {},
    el("h2", {}, `${method.toUpperCase()} ${path}`),
    el("p", {}, description),
    parameters.length > 0 && table(parameters.map(({ name, schema, required, description: text }) =>
      [name, { description: text, ...schema }, required])),
    requestBody && el("p", {}, `Body: ${requestBody.description}`),
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
