// The balancer as a whole: the large numbers at the top, the clients, and the footer.

import { part, setAttribute, setNotice, setText } from "./dom.js";
import { ONE_TO_ONE_RATE } from "./dots.js";
import { age, count, duration, measure, plural } from "./format.js";

/** Shows the state of the balancer as a whole. */
export function showOverview(state) {
  const { lately } = state;
  setText(part(document, "rate"), measure(lately.rate));
  setText(part(document, "p50"), duration(lately.p50_seconds));
  setText(part(document, "p99"), duration(lately.p99_seconds));
  setText(part(document, "errors"), measure(lately.errors));
  setAttribute(part(document, "errors"), "data-bad", lately.errors > 0);
  const ready = part(document, "ready");
  setNotice(ready, state.ready ? "✓ ready" : `✕ not ready: ${state.why_not}`);
  setAttribute(ready, "data-state", state.ready ? "up" : "down");
  showClients(state);
  setText(part(document, "listen"), `on ${state.listen.join(", ")}`);
  setText(part(document, "scale"), scale(lately.rate));
  setText(part(document, "about"), about(state));
}

function showClients({ connections, edge, requests, rejected }) {
  setText(part(document, "connections"), count(connections));
  const text = connections === null ? `connections: not counted by the ${edge} edge` : "connections";
  setText(part(document, "connections-text"), connections === 1 ? "connection" : text);
  for (const [name, number] of Object.entries({ ...requests, rejected })) {
    const line = document.querySelector(`[data-class="${name}"]`);
    if (!line) continue;
    line.hidden = number === 0 && name !== "2xx" && name !== "5xx";
    setText(line.lastElementChild, count(number));
  }
}

/** Says how many requests a dot stands for. */
function scale(rate) {
  if (rate <= ONE_TO_ONE_RATE) return "Each dot is a request.";
  const each = rate / ONE_TO_ONE_RATE;
  const rounded = Number(each.toPrecision(each < 10 ? 1 : 2));
  return rounded <= 1 ? "A dot is about one request." : `Each dot is about ${count(rounded)} requests.`;
}

function about({ version, edge, strategy, uptime_seconds, access_log_dropped }) {
  const facts = [`turnwheel ${version}`, `edge ${edge}`, strategy, `up for ${age(uptime_seconds)}`];
  if (access_log_dropped > 0) facts.push(`${plural(access_log_dropped, "access log line")} dropped`);
  return facts.join(" · ");
}
