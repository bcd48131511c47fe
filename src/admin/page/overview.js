// The balancer as a whole: the large numbers at the top, the clients, and the small print.

import { notice, part, say, set } from "./dom.js";
import { COUNTABLE } from "./flow.js";
import { count, lasted, measure, several, took } from "./words.js";

/** What is said of the balancer as a whole. */
export function showOverview(state) {
  const { lately } = state;
  say(part(document, "rate"), measure(lately.rate));
  say(part(document, "p50"), took(lately.p50_seconds));
  say(part(document, "p99"), took(lately.p99_seconds));
  say(part(document, "errors"), measure(lately.errors));
  set(part(document, "errors"), "data-bad", lately.errors > 0);
  const ready = part(document, "ready");
  notice(ready, state.ready ? "✓ ready" : `✕ not ready: ${state.why_not}`);
  set(ready, "data-state", state.ready ? "up" : "down");
  showClients(state);
  say(part(document, "listen"), `on ${state.listen.join(", ")}`);
  say(part(document, "scale"), scale(lately.rate));
  say(part(document, "about"), about(state));
}

function showClients({ connections, requests, rejected }) {
  say(part(document, "connections"), count(connections));
  const words = connections === null ? "connections: this edge does not say" : "connections";
  say(part(document, "connections-word"), connections === 1 ? "connection" : words);
  for (const [name, number] of Object.entries({ ...requests, rejected })) {
    const line = document.querySelector(`[data-class="${name}"]`);
    if (!line) continue;
    line.hidden = number === 0 && name !== "2xx" && name !== "5xx";
    say(line.lastElementChild, count(number));
  }
}

/** What a dot stands for, in words. */
function scale(rate) {
  if (rate <= COUNTABLE) return "Each dot is a request.";
  const each = rate / COUNTABLE;
  const rounded = Number(each.toPrecision(each < 10 ? 1 : 2));
  return rounded <= 1 ? "A dot is about one request." : `A dot is about ${count(rounded)} requests.`;
}

function about({ version, edge, strategy, uptime_seconds, access_log_dropped }) {
  const facts = [`turnwheel ${version}`, `edge ${edge}`, strategy, `up for ${lasted(uptime_seconds)}`];
  if (access_log_dropped > 0) facts.push(`the access log has dropped ${several(access_log_dropped, "line")}`);
  return facts.join(" · ");
}
