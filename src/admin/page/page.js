// The live page: passes the balancer's replies to the parts that show them.

import { Backends, ROOMY } from "./backends.js";
import { TrafficForm } from "./controls.js";
import { Dots } from "./dots.js";
import { Drawing } from "./drawing.js";
import { History } from "./history.js";
import { Invitation } from "./invitation.js";
import { Notices } from "./notices.js";
import { showOverview } from "./overview.js";
import { LatencyPlot, RatePlot } from "./plots.js";
import { Poll } from "./poll.js";
import { RecentRequests } from "./recent_requests.js";
import { Rotation } from "./rotation.js";
import { TokenForm } from "./token.js";
import { Workers } from "./workers.js";

const main = document.querySelector("main");
const traffic = document.querySelector("[data-form='traffic']");
const changed = () => poll.now();

const backends = new Backends(document.querySelector(".backends"), changed);
const workers = new Workers(document.querySelector(".balancer"));
const rotation = new Rotation(document.querySelector(".rotation"));
const drawing = new Drawing(main);
const recentBox = document.querySelector(".recent");
const recent = new RecentRequests(recentBox);
const rate = new RatePlot(document.querySelector("[data-plot='rate']"));
const latency = new LatencyPlot(document.querySelector("[data-plot='latency']"));
const trafficForm = new TrafficForm(traffic, changed);
const token = new TokenForm(document.querySelector("[data-form='token']"), changed);
const invitation = new Invitation(
  document.querySelector("[data-part='invitation']"),
  document.getElementById("clients-title"),
  changed,
);
const notices = new Notices();
const dots = new Dots();
const history = new History();

let uptime = 0;
let names = [];

/** A balancer that was restarted counts from zero again, so the data of the one before is dropped. */
function checkRestart({ uptime_seconds }) {
  if (uptime_seconds < uptime) {
    dots.clear();
    history.clear();
  }
  uptime = uptime_seconds;
}

/** Puts the recent requests below the backends if there is room, otherwise into the other column. */
function placeRecent() {
  const sides = main.querySelectorAll(".side");
  const side = sides[names.length > ROOMY ? 0 : 1];
  if (recentBox.parentElement !== side) side.append(recentBox);
}

function showState(state) {
  checkRestart(state);
  main.hidden = false;
  token.close();
  backends.show(state.backends);
  names = [...backends.cards.keys()];
  placeRecent();
  const drawn = dots.next(state, performance.now());
  showOverview(state);
  workers.show(state);
  rotation.show(state.strategy, state.next, names, drawn.ended);
  recent.show(state.recent);
  drawing.show(backends.cards);
  drawing.send(drawn.dots);
  traffic.hidden = !state.demo;
  invitation.show(state);
  notices.received(state);
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
  failed(error) {
    invitation.hide();
    notices.failed(error);
  },
  locked() {
    main.hidden = true;
    invitation.hide();
    notices.locked();
    token.open();
  },
});
