// The page's loop: reads what the gateway says every two seconds while somebody looks, and says when it does not answer.

import { hasKey, read, readText, useKey } from './api.js';
import { buttons, connect } from './acts.js';
import { $, fault, setText, show } from './dom.js';
import { History, clock, parse } from './figures.js';
import { traffic } from './traffic.js';
import * as views from './views.js';

const EVERY = 2_000;
// Facts of which three rounds are missing are called old.
const OLD_AFTER = 6_500;

const history = new History();
const facts = {};
let answeredAt = null;
let why = '';
let timer = null;
let reading = false;
let again = false;
let held = false;
let wantsKey = false;
let trusted = false;
let shardsOf = null;

const SOURCES = {
  topology: () => read('topology'),
  rebalance: () => read('rebalance'),
  resilver: () => read('resilver'),
  tasks: () => read(`tasks?limit=20${$('tasks-which').value}`),
  gateway: () => read('gateway'),
  scrub: () => read('scrub'),
  metrics: () => readText('metrics'),
};

function news(texts) {
  if (texts.length) setText($('news'), texts.join(' '));
}

// What has changed since the last look, in words.
function changes(before, now) {
  const told = [];
  if (before.topology && now.topology) {
    const states = new Map(before.topology.nodes.map((node) => [node.id, node.state]));
    for (const node of now.topology.nodes) {
      const state = states.get(node.id);
      if (state === undefined) told.push(`${node.id} is new.`);
      else if (state !== node.state) told.push(`${node.id} is ${node.state} now.`);
    }
    for (const id of states.keys()) if (!now.topology.nodes.some((node) => node.id === id)) told.push(`${id} has left.`);
  }
  if (before.rebalance && now.rebalance) {
    const quarter = ({ replicas }) => (replicas.total ? Math.floor((4 * replicas.done) / replicas.total) : 0);
    const other = before.rebalance.state !== now.rebalance.state;
    if (other && now.rebalance.state === 'idle') told.push('The moves have ended.');
    else if (other || quarter(before.rebalance) !== quarter(now.rebalance)) told.push(views.movesSummary(now.rebalance));
  }
  return told;
}

// A section is drawn from `needs`, and says so where one of them could not be read.
function section(id, faults, needs, draw) {
  const missing = needs.find((name) => faults[name]);
  fault(id, missing ? `${faults[missing].message} (${missing})` : null);
  if (!missing && needs.every((name) => facts[name])) draw();
}

function draw(faults) {
  section('nodes', faults, ['topology'], () => views.nodes(facts, history, buttons));
  section('shards', faults, ['topology', 'shards'], () => views.shardsView(facts));
  section('moves', faults, ['rebalance'], () => views.moves(facts.rebalance));
  section('copies', faults, ['resilver'], () => views.copies(facts.resilver));
  section('tasks', faults, ['tasks'], () => views.tasks(facts.tasks, history));
  section('traffic', faults, ['metrics'], () => traffic(history));
  section('rules', faults, ['gateway'], () => views.rules(facts.gateway, history));
  section('gateway', faults, ['gateway'], () => views.gateway(facts, history));
}

function askForKey(fault) {
  wantsKey = true;
  trusted = false;
  useKey(null);
  setText($('key-why'), `The gateway says: ${fault.message}`);
  if ($('key-form').hidden) {
    show($('key-form'), true);
    show($('main'), false);
    $('key').focus();
  }
  show($('forget'), false);
}

async function round() {
  const before = { ...facts };
  const names = Object.keys(SOURCES);
  // Whether a key is wanted is learned from one request, not from all.
  if (!trusted) await read('gateway');
  trusted = true;
  const outcomes = await Promise.allSettled(names.map((name) => SOURCES[name]()));
  const faults = {};
  outcomes.forEach((outcome, at) => {
    if (outcome.status === 'fulfilled') facts[names[at]] = outcome.value;
    else faults[names[at]] = outcome.reason;
  });
  const keyFault = Object.values(faults).find(({ kind }) => kind === 'key');
  if (keyFault) {
    askForKey(keyFault);
    return;
  }
  // Shards change with the topology only, and are many.
  if (!faults.topology && shardsOf !== facts.topology.epoch) {
    try {
      facts.shards = await read('shards');
      shardsOf = facts.shards.epoch;
    } catch (error) {
      faults.shards = error;
    }
  }
  if (!faults.gateway && before.gateway && facts.gateway.secondsUp < before.gateway.secondsUp) {
    history.forget();
    news(['The gateway was started again.']);
  }
  if (!faults.metrics) history.add(performance.now(), parse(facts.metrics));
  const away = Object.values(faults).find(({ kind }) => kind === 'away');
  if (away) why = away.message;
  // What did not answer says nothing new: what was shown stays, and is called old in time.
  if (names.every((name) => faults[name]?.kind === 'away')) return;
  answeredAt = Date.now();
  show($('key-form'), false);
  show($('main'), true);
  show($('forget'), hasKey());
  news(changes(before, facts));
  draw(faults);
}

function age() {
  const fresh = $('fresh');
  const old = answeredAt === null ? why !== '' : Date.now() - answeredAt > OLD_AFTER;
  const at = answeredAt === null ? null : clock(answeredAt);
  if (wantsKey) setText(fresh, 'Waits for the key');
  else if (held) setText(fresh, at ? `Held: as of ${at}` : 'Held');
  else setText(fresh, at ? `As of ${at}${old ? ' (old)' : ''}` : 'Not read yet');
  const loud = old && !held && !wantsKey && !document.hidden;
  show($('old'), loud);
  if (loud) setText($('old'), at ? `▲ Old: no answer since ${at} (${why || 'the page was asleep'}). What is shown is of then.` : `▲ No answer yet: ${why}.`);
}

async function refresh() {
  if (reading) {
    again = true;
    return;
  }
  clearTimeout(timer);
  reading = true;
  try {
    await round();
  } catch (error) {
    if (error.kind === 'key') askForKey(error);
    else if (error.kind) why = error.message;
    // An answer of a shape that this page does not know: of another version, or of something in front of the gateway.
    else why = `the answer cannot be shown: ${error.message}`;
  } finally {
    reading = false;
  }
  age();
  if (again) {
    again = false;
    refresh();
  } else plan();
}

function plan() {
  clearTimeout(timer);
  if (!document.hidden && !held && !wantsKey) timer = setTimeout(refresh, EVERY);
}

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('key').value.trim();
  $('key').value = '';
  if (!/^[\x21-\x7e]+$/.test(text)) {
    setText($('key-why'), 'A key is made of letters, digits and signs of ASCII, without spaces.');
    return;
  }
  useKey(text);
  wantsKey = false;
  setText($('key-why'), 'The key is tried…');
  refresh();
});

$('forget').addEventListener('click', () => location.reload());

$('hold').addEventListener('click', () => {
  held = !held;
  setText($('hold'), held ? 'Refresh again' : 'Stop refreshing');
  age();
  if (held) clearTimeout(timer);
  else refresh();
});

$('tasks-which').addEventListener('change', refresh);

document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else if (!held && !wantsKey) refresh();
});

connect({
  facts: () => facts,
  done: (text) => {
    news([text]);
    setText($('acted'), `${clock(Date.now())}: ${text}`);
    refresh();
  },
});
setInterval(age, 1_000);
refresh();
