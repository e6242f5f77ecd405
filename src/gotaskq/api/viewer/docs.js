// Shows the OpenAPI document. Whatever comes from it is set as text, never as markup.
"use strict";

const make = (tag, text, ...children) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
};

const json = (value) => make("pre", JSON.stringify(value, null, 2));

const unfold = (title, summary, ...children) =>
  make("details", undefined, make("summary", undefined, make("code", title), ` ${summary}`), ...children);

const schemaOf = (api, reference) => api.components.schemas[reference.slice("#/components/schemas/".length)];

function showType(api, job) {
  const payload = job.properties.payload;
  const reference = payload.$ref || payload.anyOf[0].$ref;
  return unfold(
    job.properties.type.const, job.description,
    make("h3", "Example"), json(job.examples[0]),
    make("h3", "Payload"), json(schemaOf(api, reference)),
  );
}

function showRequest(method, path, operation) {
  const answers = make("table");
  for (const [status, answer] of Object.entries(operation.responses)) {
    answers.append(make("tr", undefined, make("td", status), make("td", answer.description)));
  }
  const parameters = (operation.parameters || []).map((one) => make("li", `${one.name} (${one.in})`));
  return unfold(`${method.toUpperCase()} ${path}`, operation.summary, make("ul", undefined, ...parameters), answers);
}

async function show() {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`openapi.json answered ${answer.status}`);
  const api = await answer.json();
  const jobs = Object.entries(api.components.schemas).filter(([name]) => name.startsWith("job."));
  const types = jobs.map(([, job]) => showType(api, job));
  const none = make("p", "None has a schema: no task is defined with @app.task here.");
  document.getElementById("type-list").append(...(types.length ? types : [none]));
  const requests = document.getElementById("request-list");
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) requests.append(showRequest(method, path, operation));
  }
}

show().catch((error) => { document.getElementById("problem").textContent = `Cannot show it: ${error.message}`; });
