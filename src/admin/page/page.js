// The live page: what comes from the balancer goes to the parts that show it.

import { Backends, ROOMY } from "./backends.js";
import { Traffic } from "./controls.js";
import { Drawing } from "./drawing.js";
import { Flow } from "./flow.js";
import { History } from "./history.js";
import { News } from "./news.js";
import { showOverview } from "./overview.js";
import { LatencyPlot, RatePlot } from "./plots.js";
import { Poll } from "./poll.js";
import { Recent } from "./recent.js";
import { Rotation } from "./rotation.js";
import { TokenForm } from "./token.js";
import { Workers } from "./workers.js";

const main = document.querySelector("main");
const traffic = document.querySelector("[data-form='traffic']");
const changed = () => poll.again();

const backends = new Backends(document.querySelector(".backends"), changed);
const workers = new Workers(document.querySelector(".balancer"));
const rotation = new Rotation(document.querySelector(".rotation"));
const drawing = new Drawing(main);
const recentBox = document.querySelector(".recent");
const recent = new Recent(recentBox);
const rate = new RatePlot(document.querySelector("[data-plot='rate']"));
const latency = new LatencyPlot(document.querySelector("[data-plot='latency']"));
const trafficForm = new Traffic(traffic, changed);
const token = new TokenForm(document.querySelector("[data-form='token']"), changed);
const news = new News();
const flow = new Flow();
const history = new History();

let uptime = 0;
let names = [];

/** A balancer that was started again counts from nothing, and what was known of the old one is over. */
function noticeRestart({ uptime_seconds }) {
  if (uptime_seconds < uptime) {
    flow.clear();
    history.clear();
  }
  uptime = uptime_seconds;
}

/** Where backends leave no room below them, the recent requests are on the other side. */
function placeRecent() {
  const sides = main.querySelectorAll(".side");
  const side = sides[names.length > ROOMY ? 0 : 1];
  if (recentBox.parentElement !== side) side.append(recentBox);
}

function showState(state) {
  noticeRestart(state);
  main.hidden = false;
  token.close();
  backends.show(state.backends);
  names = [...backends.cards.keys()];
  placeRecent();
  const { dots, passed } = flow.look(state, performance.now());
  showOverview(state);
  workers.show(state);
  rotation.show(state.strategy, state.next, names, passed);
  recent.show(state.recent);
  drawing.show(backends.cards);
  drawing.send(dots);
  traffic.hidden = !state.demo;
  news.heard(state);
}

const poll = new Poll({
  state: showState,
  historyPath: () => history.path(),
  history(reply) {
    history.add(reply);
    rate.show(history, names);
    latency.show(history);
  },
  demo(reply) {
    trafficForm.show(reply.traffic);
    backends.showDemo(reply.backends);
  },
  gone: (error) => news.gone(error),
  locked() {
    main.hidden = true;
    news.locked();
    token.open();
  },
});
